//! The running kernel's types, by name.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    os::fd::AsRawFd,
};

use btf_rs::{Backend, Btf, Error, Type};
use nix::sys::memfd::{MFdFlags, memfd_create};
use regex::Regex;

use super::hooks::{FEXIT, Kind, TIMESTAMP, TRAMPOLINES};

/// Where the kernel publishes its type information.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Where it publishes those of its modules.
const MODULES: &str = "/sys/kernel/btf";

/// What the offsets are of, beside what programs attach to. One that is not among these is searched for by itself.
const USED: [&str; 25] = [
    "address_space",
    "backing_file",
    "bpf_trampoline",
    "btrfs_inode",
    "btrfs_root",
    "dentry",
    "fdtable",
    "file",
    "files_struct",
    "iattr",
    "inode",
    "inode_state_flags_enum",
    "inode_state_flags_t",
    "io_kiocb",
    "io_uring_task",
    "iomap_dio",
    "kiocb",
    "ovl_inode",
    "path",
    "pt_regs",
    "renamedata",
    "super_block",
    "task_struct",
    "vm_area_struct",
    "vm_fault",
];

pub(super) struct Types {
    pub(super) btf: Btf,
    /// Numbers of the types of a name, as far as they were searched for together.
    found: HashMap<String, Vec<u32>>,
}

impl Types {
    pub(super) fn of_running_kernel() -> Result<Self, Error> {
        let btf = mapped(&fs::read(VMLINUX)?)?;
        let on = [FEXIT, TIMESTAMP, TRAMPOLINES].into_iter().flatten().map(|program| match program.kind {
            Kind::Tracepoint => tracepoint(program.on),
            Kind::Entry | Kind::Exit => program.on.to_owned(),
        });
        let found = search(&btf, USED.into_iter().map(str::to_owned).chain(on).collect())?;
        Ok(Self { btf, found })
    }

    /// Those that a module adds. `None`: built in, or not loaded (then nothing of it is mounted either).
    pub(super) fn of_module(&self, name: &str) -> Option<Self> {
        let btf = Btf::from_split_file(format!("{MODULES}/{name}"), &self.btf).ok()?;
        Some(Self { btf, found: HashMap::new() })
    }

    /// Numbers of all types of this name.
    pub(super) fn numbers(&self, name: &str) -> Vec<u32> {
        match self.found.get(name) {
            Some(found) => found.clone(),
            None => self.btf.split().unwrap_or(self.btf.base()).resolve_ids_by_name(name).unwrap_or_default(),
        }
    }

    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = Type> {
        self.numbers(name).into_iter().filter_map(|number| self.btf.resolve_type_by_id(number).ok())
    }
}

/// What the type is called that each tracepoint has.
pub(super) fn tracepoint(name: &str) -> String {
    format!("btf_trace_{name}")
}

/// The types are read where they lie, when they are asked for: to take them all apart would take most of the time in
/// which the daemon starts. The kernel's own file can be mapped from Linux 6.16 on, a copy everywhere.
fn mapped(types: &[u8]) -> Result<Btf, Error> {
    let mut copy = File::from(memfd_create(c"btf", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?);
    copy.write_all(types)?;
    Btf::from_file_with_backend(format!("/proc/self/fd/{}", copy.as_raw_fd()), Backend::Mmap)
}

/// Goes through all types once.
fn search(btf: &Btf, names: Vec<String>) -> Result<HashMap<String, Vec<u32>>, Error> {
    let any =
        Regex::new(&format!("^({})$", names.join("|"))).map_err(|error| Error::Format(error.to_string()))?;
    let mut found: HashMap<_, Vec<_>> = names.into_iter().map(|name| (name, Vec::new())).collect();
    for number in btf.resolve_ids_by_regex(&any)? {
        let kind = btf.resolve_type_by_id(number)?;
        let name = kind.as_btf_type().map(|kind| btf.resolve_name(kind)).transpose()?;
        if let Some(numbers) = name.and_then(|name| found.get_mut(&name)) {
            numbers.push(number);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_together_is_what_is_found_by_itself() {
        if !std::path::Path::new(VMLINUX).exists() {
            eprintln!("skipped: this kernel has no BTF");
            return;
        }
        let types = Types::of_running_kernel().expect("BTF");
        for name in ["inode", "vfs_write", "ovl_inode"] {
            assert_eq!(types.found[name], types.btf.resolve_ids_by_name(name).expect("names"), "{name}");
        }
        assert_eq!(types.named("inode").count(), 1);
        assert!(!types.found.contains_key("inet_sock"));
        assert_eq!(types.named("inet_sock").count(), 1);
    }
}
