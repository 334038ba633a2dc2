//! The first instructions: both entry points in 32-bit protected mode, the image's two headers, the switch to long
//! mode.
//!
//! A multiboot2 boot loader (Multiboot2 2.0, 3.1 and 3.3) enters at `multiboot2_start` with its magic number in EAX
//! and the information's address in EBX; it may load us elsewhere than linked. PVH (Xen `docs/misc/pvh`) enters at
//! `pvh_start` with the start information's address in EBX. Both end in `loader_main(magic, address)` of `main.rs`,
//! in long mode, with the lowest 4 GiB mapped at their physical addresses.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .multiboot2, "a"
    .align 8
multiboot2_header:
    .long 0xe85250d6                    // magic
    .long 0                             // architecture: i386 protected mode
    .long multiboot2_header_end - multiboot2_header
    .long -(0xe85250d6 + 0 + (multiboot2_header_end - multiboot2_header))
    .align 8
    .short 6                            // modules aligned to pages
    .short 0
    .long 8
    .short 10                           // relocatable (Multiboot2 2.0, 3.1.13): 16 MiB to 4 GiB, lowest; 2 MiB pages stay aligned
    .short 1
    .long 24
    .long 0x1000000, 0xffffffff, 0x200000, 1
    .short 0                            // end
    .short 0
    .long 8
multiboot2_header_end:

    .section .note.Xen, "a", @note
    .align 4
    .long 4                             // bytes of the name
    .long 8                             // bytes of the value
    .long 18                            // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

    .section .boot.text, "ax"
    .code32
    .global multiboot2_start
multiboot2_start:
    cli
    cld
    cmp eax, 0x36d76289
    jne linked                          // somebody else: loader_main will say so
    // Where are we? The only memory known is the information: its first word, saved meanwhile, is a stack of one
    // word.
    mov ecx, [ebx]
    lea esp, [ebx + 4]
    call where_we_are
where_we_are:
    pop edx
    mov [ebx], ecx
    sub edx, offset where_we_are                  // how far from the address that the loader is linked at
    jz linked

    // Far: the boot loader chose the place. Rescue the information into the loaded copy's stack, then move the loader
    // (not the payload) to its address and clear its bss there. The lowest place asked for is far enough to overlap
    // nothing.
    mov ebp, eax
    cmp ecx, 256 * 1024
    ja 2f
    mov esi, ebx
    lea edi, [edx + boot_stack]
    mov ebx, edi
    rep movsb
2:  mov edi, offset loader_start
    lea esi, [edx + loader_start]
    mov ecx, offset loader_bss_start
    sub ecx, edi
    rep movsb
    mov ecx, offset loader_end
    sub ecx, edi
    xor eax, eax
    rep stosb
    mov ecx, offset PAYLOAD_LOCATION
    add [ecx + 8], edx                  // PayloadLocation::phys
    mov eax, ebp
    mov ecx, offset linked
    jmp ecx

    .global pvh_start
pvh_start:
    mov eax, 0x336ec578
linked:
    cli
    cld
    mov esp, offset boot_stack_end
    mov edi, eax                        // the two arguments of loader_main
    mov esi, ebx
    mov ebp, ebx                        // cpuid overwrites ebx

    // Long mode: CPUID Fn8000_0001 EDX bit 29 (AMD APM vol. 2, 14.8).
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb no_long_mode
    mov eax, 0x80000001
    cpuid
    bt edx, 29
    jnc no_long_mode
    mov esi, ebp

    // Identity mapping of 4 GiB: one root, one table of 1 GiB steps, four tables of 2 MiB pages. The bss is zero.
    mov eax, offset boot_level3
    or eax, 3
    mov ebx, offset boot_level4
    mov [ebx], eax
    mov eax, offset boot_level2
    or eax, 3
    mov ebx, offset boot_level3
    mov ecx, 4
2:  mov [ebx], eax
    add eax, 4096
    add ebx, 8
    dec ecx
    jnz 2b
    mov eax, 0x83                       // present, writable, 2 MiB
    mov ebx, offset boot_level2
    mov ecx, 2048
3:  mov [ebx], eax
    add eax, 0x200000
    add ebx, 8
    dec ecx
    jnz 3b

    mov eax, cr4
    or eax, 0x20                        // PAE
    mov cr4, eax
    mov eax, offset boot_level4
    mov cr3, eax
    mov ecx, 0xc0000080                 // EFER
    rdmsr
    or eax, 0x100                       // LME
    wrmsr
    mov eax, cr0
    or eax, 0x80000001                  // PG, PE
    mov cr0, eax

    mov eax, offset boot_gdt_pointer
    lgdt [eax]
    // A far return to the 64-bit code segment. The push is written as a byte so that it takes a 32-bit address.
    push 8
    .byte 0x68
    .long long_start
    .byte 0xcb

no_long_mode:
    // COM1 at 115200 baud, then the message.
    mov ebx, offset boot_serial_setup
4:  movzx edx, word ptr [ebx]
    test edx, edx
    jz 5f
    mov al, [ebx + 2]
    out dx, al
    add ebx, 3
    jmp 4b
5:  mov ebx, offset no_long_mode_line
6:  mov edx, 0x3fd
    mov ecx, 100000
7:  in al, dx
    test al, 0x20
    jnz 8f
    dec ecx
    jnz 7b
8:  mov al, [ebx]
    test al, al
    jz 9f
    mov edx, 0x3f8
    out dx, al
    inc ebx
    jmp 6b
9:  hlt
    jmp 9b

    .code64
long_start:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, offset boot_stack_end      // clears the upper half
    mov edi, edi                        // and so do these
    mov esi, esi
    push 2
    popfq
    xor ebp, ebp
    call loader_main
    ud2

    .section .rodata.boot, "a"
boot_serial_setup:
    .short 0x3f9
    .byte 0
    .short 0x3fb
    .byte 0x80
    .short 0x3f8
    .byte 1
    .short 0x3f9
    .byte 0
    .short 0x3fb
    .byte 3
    .short 0x3fa
    .byte 0xc7
    .short 0x3fc
    .byte 3
    .short 0
no_long_mode_line:
    .asciz "ecusson loader: the processor has no long mode; use a 64-bit x86 processor\r\n"
    .align 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            // 64-bit code
    .quad 0x00cf93000000ffff            // data
boot_gdt_pointer:
    .short boot_gdt_pointer - boot_gdt - 1
    .long boot_gdt

    .section .bss.boot, "aw", @nobits
    .align 4096
    .global boot_level4
boot_level4:
    .skip 4096
boot_level3:
    .skip 4096
boot_level2:
    .skip 4 * 4096
boot_stack:
    .skip 256 * 1024
boot_stack_end:
"#
);
