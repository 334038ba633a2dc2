//! Model-specific registers that neither the processor switches nor another part of the VMM owns.
//!
//! Key type: [`Msrs`], one a vCPU. A register that is not listed here is not there: the guest gets the general protection fault
//! that it would get from a processor, and Linux expects it for what it probes.

use crate::apic::BadAccess;

mod number {
    pub(super) const PLATFORM_ID: u32 = 0x17;
    pub(super) const FEATURE_CONTROL: u32 = 0x3a;
    pub(super) const MICROCODE: u32 = 0x8b;
    pub(super) const MTRR_CAPABILITIES: u32 = 0xfe;
    pub(super) const MISC_FEATURES: u32 = 0x140;
    pub(super) const MACHINE_CHECK_CAPABILITIES: u32 = 0x179;
    pub(super) const MACHINE_CHECK_STATUS: u32 = 0x17a;
    pub(super) const MISC_ENABLE: u32 = 0x1a0;
    pub(super) const MTRR_VARIABLE: u32 = 0x200;
    pub(super) const MTRR_VARIABLE_END: u32 = 0x210;
    pub(super) const MTRR_FIXED: [u32; 11] = [
        0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
    ];
    pub(super) const PAGE_ATTRIBUTES: u32 = 0x277;
    pub(super) const MTRR_DEFAULT: u32 = 0x2ff;
    pub(super) const AMD_SYSTEM_CONFIGURATION: u32 = 0xc001_0010;
    pub(super) const AMD_HARDWARE_CONFIGURATION: u32 = 0xc001_0015;
    pub(super) const AMD_NORTHBRIDGE_CONFIGURATION: u32 = 0xc001_001f;
    pub(super) const AMD_PATCH_LOADER: u32 = 0xc001_0020;
    pub(super) const AMD_INTERRUPT_PENDING: u32 = 0xc001_0055;
    pub(super) const AMD_DECODE_CONFIGURATION: u32 = 0xc001_1029;
}

/// Eight variable ranges, fixed ranges, write-combining.
const MTRR_CAPABILITIES: u64 = 0x508;
/// Ranges on, memory is write-back unless they say otherwise.
const MTRR_DEFAULT: u64 = 0xc06;
const MTRR_DEFAULT_WRITABLE: u64 = 0xcff;
/// The value of the page attribute table after reset.
const PAGE_ATTRIBUTES: u64 = 0x0007_0406_0007_0406;
/// A microcode revision later than any that Linux warns about.
const MICROCODE: u64 = 0xffff_ffff << 32;
/// Fast strings.
const MISC_ENABLE: u64 = 1;
/// AMD: LFENCE serialises.
const LFENCE_SERIALISES: u64 = 2;
/// AMD hardware configuration: the TSC runs at a constant frequency.
const TSC_FREQUENCY_SELECTED: u64 = 1 << 24;

/// The registers of a vCPU that are memory and little else.
#[derive(Clone, Debug)]
pub struct Msrs {
    page_attributes: u64,
    mtrr_variable: [u64; 16],
    mtrr_fixed: [u64; 11],
    mtrr_default: u64,
    hardware_configuration: u64,
}

impl Default for Msrs {
    fn default() -> Self {
        Self {
            page_attributes: PAGE_ATTRIBUTES,
            mtrr_variable: [0; 16],
            mtrr_fixed: [0x0606_0606_0606_0606; 11],
            mtrr_default: MTRR_DEFAULT,
            hardware_configuration: TSC_FREQUENCY_SELECTED,
        }
    }
}

/// Write-back, write-through, write-protected, write-combining, uncached, and for page attributes "uncached, overridable".
fn is_memory_type(value: u8) -> bool {
    matches!(value, 0 | 1 | 4 | 5 | 6)
}

impl Msrs {
    /// The page attribute table, for the kernel to load beside the guest's state.
    #[must_use]
    pub fn page_attributes(&self) -> u64 {
        self.page_attributes
    }

    /// Reads a register.
    ///
    /// # Errors
    /// [`BadAccess`] if there is none with this number.
    pub fn read(&self, msr: u32) -> Result<u64, BadAccess> {
        if let Some(index) = number::MTRR_FIXED.iter().position(|&fixed| fixed == msr) {
            return self.mtrr_fixed.get(index).copied().ok_or(BadAccess);
        }
        match msr {
            number::MICROCODE => Ok(MICROCODE),
            number::MTRR_CAPABILITIES => Ok(MTRR_CAPABILITIES),
            number::MISC_ENABLE => Ok(MISC_ENABLE),
            number::MTRR_VARIABLE..number::MTRR_VARIABLE_END => {
                let index = (msr - number::MTRR_VARIABLE) as usize;
                self.mtrr_variable.get(index).copied().ok_or(BadAccess)
            }
            number::PAGE_ATTRIBUTES => Ok(self.page_attributes),
            number::MTRR_DEFAULT => Ok(self.mtrr_default),
            number::AMD_HARDWARE_CONFIGURATION => Ok(self.hardware_configuration),
            number::AMD_DECODE_CONFIGURATION => Ok(LFENCE_SERIALISES),
            number::PLATFORM_ID
            | number::FEATURE_CONTROL
            | number::MISC_FEATURES
            | number::MACHINE_CHECK_CAPABILITIES
            | number::MACHINE_CHECK_STATUS
            | number::AMD_SYSTEM_CONFIGURATION
            | number::AMD_NORTHBRIDGE_CONFIGURATION
            | number::AMD_INTERRUPT_PENDING => Ok(0),
            _ => Err(BadAccess),
        }
    }

    /// Writes a register.
    ///
    /// # Errors
    /// [`BadAccess`] if there is none with this number, it can't be written, or the value makes no sense.
    pub fn write(&mut self, msr: u32, value: u64) -> Result<(), BadAccess> {
        if let Some(index) = number::MTRR_FIXED.iter().position(|&fixed| fixed == msr) {
            if !value.to_le_bytes().into_iter().all(is_memory_type) {
                return Err(BadAccess);
            }
            *self.mtrr_fixed.get_mut(index).ok_or(BadAccess)? = value;
            return Ok(());
        }
        match msr {
            number::MTRR_VARIABLE..number::MTRR_VARIABLE_END => {
                let index = (msr - number::MTRR_VARIABLE) as usize;
                *self.mtrr_variable.get_mut(index).ok_or(BadAccess)? = value;
            }
            number::PAGE_ATTRIBUTES => {
                let valid = |byte| is_memory_type(byte) || byte == 7;
                if !value.to_le_bytes().into_iter().all(valid) {
                    return Err(BadAccess);
                }
                self.page_attributes = value;
            }
            number::MTRR_DEFAULT if value & !MTRR_DEFAULT_WRITABLE == 0 && is_memory_type(value as u8) => {
                self.mtrr_default = value;
            }
            number::AMD_HARDWARE_CONFIGURATION => self.hardware_configuration = value | TSC_FREQUENCY_SELECTED,
            // Written by Linux on some processors, with nothing to do here.
            number::MICROCODE
            | number::MISC_ENABLE
            | number::MACHINE_CHECK_STATUS
            | number::AMD_PATCH_LOADER
            | number::AMD_SYSTEM_CONFIGURATION
            | number::AMD_NORTHBRIDGE_CONFIGURATION
            | number::AMD_INTERRUPT_PENDING
            | number::AMD_DECODE_CONFIGURATION => {}
            _ => return Err(BadAccess),
        }
        Ok(())
    }
}
