//! Memory that is not there until somebody says so: userfaultfd(2).

use std::{fs::File, io, io::Read, os::fd::FromRawFd};

use memmap2::MmapMut;

use super::ioctl::{ioctl, read_write};

const PAGE: usize = 4096;

/// `struct uffdio_range`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Range {
    start: u64,
    length: u64,
}

/// Two pages, of which the second one is missing: who touches it waits.
pub(crate) struct Missing {
    pages: MmapMut,
    faults: File,
}

impl Missing {
    /// The first page is full of `byte`.
    pub(crate) fn new(byte: u8) -> io::Result<Self> {
        /// `struct uffdio_api`
        #[repr(C)]
        struct Api {
            version: u64,
            features: u64,
            requests: u64,
        }
        /// `struct uffdio_register`
        #[repr(C)]
        struct Register {
            range: Range,
            mode: u64,
            requests: u64,
        }
        const API: u64 = read_write(0xaa, 0x3f, size_of::<Api>());
        const REGISTER: u64 = read_write(0xaa, 0, size_of::<Register>());
        const MODE_MISSING: u64 = 1;
        let mut pages = MmapMut::map_anon(2 * PAGE)?;
        pages[..PAGE].fill(byte);
        // SAFETY: it takes flags alone.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        super::checked(fd)?;
        // SAFETY: the kernel has just made the descriptor, for nobody else.
        let faults = unsafe { File::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) };
        let mut api = Api { version: 0xaa, features: 0, requests: 0 };
        let missing = Self { pages, faults };
        let mut register = Register { range: missing.second(), mode: MODE_MISSING, requests: 0 };
        // SAFETY: the structures are those of the requests; the range is a page of a mapping that lives as long as the
        // descriptor, so that whoever waits for the page is woken by its end at the latest.
        unsafe {
            ioctl(&missing.faults, API, &mut api)?;
            ioctl(&missing.faults, REGISTER, &mut register)?;
        }
        Ok(missing)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.pages
    }

    /// Waits until somebody waits for the second page.
    pub(crate) fn touched(&self) -> io::Result<()> {
        // `struct uffd_msg`
        let mut message = [0; 32];
        (&self.faults).read_exact(&mut message)
    }

    /// The second page comes, full of zeros.
    pub(crate) fn provide(&self) -> io::Result<()> {
        /// `struct uffdio_zeropage`
        #[repr(C)]
        struct Zero {
            range: Range,
            mode: u64,
            done: i64,
        }
        const ZEROPAGE: u64 = read_write(0xaa, 4, size_of::<Zero>());
        let mut zero = Zero { range: self.second(), mode: 0, done: 0 };
        // SAFETY: the structure is UFFDIO_ZEROPAGE's; nobody has seen what was in the page, which was missing.
        unsafe { ioctl(&self.faults, ZEROPAGE, &mut zero) }
    }

    fn second(&self) -> Range {
        Range { start: self.pages.as_ptr() as u64 + PAGE as u64, length: PAGE as u64 }
    }
}
