//! Names of settings: those that count, those that Xen has and this platform has not, and what a misspelt one may mean.

use alloc::vec::Vec;

/// Settings that are read.
pub(super) const SUPPORTED: &[&str] = &[
    "builder",
    "cap",
    "cmdline",
    "cpu_weight",
    "cpus",
    "cpus_soft",
    "disk",
    "extra",
    "kernel",
    "localtime",
    "maxmem",
    "maxvcpus",
    "memory",
    "name",
    "nomigrate",
    "on_crash",
    "on_poweroff",
    "on_reboot",
    "on_soft_reset",
    "on_watchdog",
    "pool",
    "ramdisk",
    "root",
    "rtc_timeoffset",
    "type",
    "uuid",
    "vcpus",
    "vif",
];

/// Settings of Xen that have no meaning here.
const IGNORED: &[&str] = &[
    "acpi",
    "acpi_firmware",
    "acpi_laptop_slate",
    "acpi_s3",
    "acpi_s4",
    "altp2m",
    "altp2m_count",
    "altp2mhvm",
    "apic",
    "arm_sci",
    "bios",
    "bios_path_override",
    "boot",
    "bootloader",
    "bootloader_args",
    "bootloader_restrict",
    "bootloader_user",
    "channel",
    "cpuid",
    "device_tree",
    "display",
    "dm_restrict",
    "driver_domain",
    "dtdev",
    "e820_host",
    "extratime",
    "firmware",
    "firmware_override",
    "gfx_passthru",
    "gic_version",
    "hap",
    "hdtype",
    "hpet",
    "hvm_pirq",
    "init_seclabel",
    "iomem",
    "ioports",
    "irqs",
    "keymap",
    "latency",
    "llc_colors",
    "max_event_channels",
    "max_grant_frames",
    "max_grant_version",
    "max_maptrack_frames",
    "mca_caps",
    "mmio_hole",
    "ms_vm_genid",
    "msr_relaxed",
    "nestedhvm",
    "nographic",
    "nr_spis",
    "nx",
    "oos",
    "opengl",
    "p9",
    "pae",
    "passthrough",
    "pci",
    "period",
    "pvcalls",
    "rdm",
    "rdm_mem_boundary",
    "sdl",
    "seclabel",
    "serial",
    "shadow_memory",
    "slice",
    "smbios",
    "smbios_firmware",
    "soundhw",
    "stdvga",
    "sve",
    "tee",
    "timer_mode",
    "trap_unmapped_accesses",
    "tsc_mode",
    "usb",
    "usbctrl",
    "usbdev",
    "usbdevice",
    "usbversion",
    "vdispl",
    "vendor_device",
    "vfb",
    "vga",
    "videoram",
    "vif2",
    "viridian",
    "virtio",
    "vkb",
    "vkb_device",
    "vmtrace_buf_kb",
    "vncconsole",
    "vnuma",
    "vpmu",
    "vpt_align",
    "vsnd",
    "vtpm",
    "vuart",
    "xauthority",
    "xend_suspend_evtchn_compat",
    "xenstore_feature_mask",
];

/// Beginnings of names of such settings.
const IGNORED_BEGINNINGS: &[&str] = &[
    "device_model",
    "pci_",
    "pvshim",
    "spice",
    "stubdomain_",
    "vnc",
    "xen_platform_pci",
    "xenstore_quota",
];

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is read.
    Supported,
    /// Xen has it.
    Ignored,
    /// Nobody has it; this one is near.
    Unknown(Option<&'static str>),
}

pub(super) fn look_up(key: &str) -> Known {
    if SUPPORTED.contains(&key) {
        Known::Supported
    } else if IGNORED.contains(&key) || IGNORED_BEGINNINGS.iter().any(|beginning| key.starts_with(beginning)) {
        Known::Ignored
    } else {
        Known::Unknown(nearest(key))
    }
}

/// The name that at most two changes make of this one.
fn nearest(key: &str) -> Option<&'static str> {
    // A long name is near to none, and would cost time.
    if key.len() > 32 {
        return None;
    }
    let distances = SUPPORTED
        .iter()
        .map(|name| (distance(key.as_bytes(), name.as_bytes()), *name));
    distances
        .filter(|&(distance, name)| distance <= 2 && distance < name.len() / 2)
        .min()
        .map(|(_, name)| name)
}

/// Characters to insert, remove or replace (Levenshtein).
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, one) in from.iter().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (other, place) in to.iter().zip(1..) {
            let above = row[place];
            let replaced = diagonal + usize::from(one != other);
            row[place - 1] = left;
            left = replaced.min(above + 1).min(left + 1);
            diagonal = above;
        }
        row[to.len()] = left;
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_their_neighbour() {
        assert_eq!(look_up("memroy"), Known::Unknown(Some("memory")));
        assert_eq!(look_up("vcpu"), Known::Unknown(Some("vcpus")));
        assert_eq!(look_up("colour"), Known::Unknown(None));
        assert_eq!(look_up("vncpasswd"), Known::Ignored);
        assert_eq!(look_up("memory"), Known::Supported);
    }

    #[test]
    fn distances_count_single_changes() {
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"abc", b"abc"), 0);
    }
}
