//! Offsets of kernel structure fields, from the running kernel's BTF.

use btf_rs::Type;
use upcall_common::abi::{ABSENT, Offsets};

use super::types::{Types, VMLINUX, tracepoint};

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error(
        "cannot read the kernel's type information {VMLINUX}: {0}; upcall needs a kernel built with CONFIG_DEBUG_INFO_BTF"
    )]
    Unreadable(#[from] btf_rs::Error),
    #[error("this kernel has none of the fields {0}; upcall does not know this kernel version")]
    NoField(String),
}

/// The kernel's types.
pub struct Layout {
    types: Types,
}

impl Layout {
    pub fn of_running_kernel() -> Result<Self, LayoutError> {
        Ok(Self { types: Types::of_running_kernel()? })
    }

    fn of_module(&self, name: &str) -> Option<Self> {
        Some(Self { types: self.types.of_module(name)? })
    }

    /// Byte offset of a field, written `struct.field.field`; the way through anonymous members is found.
    fn offset(&self, path: &str) -> Option<u32> {
        let (name, fields) = path.split_once('.')?;
        self.types.named(name).find_map(|kind| self.descend(&kind, fields))
    }

    fn descend(&self, kind: &Type, fields: &str) -> Option<u32> {
        let (Type::Struct(outer) | Type::Union(outer)) = kind else { return None };
        let (field, rest) = match fields.split_once('.') {
            Some((field, rest)) => (field, Some(rest)),
            None => (fields, None),
        };
        outer.members.iter().find_map(|member| {
            let name = self.types.btf.resolve_name(member).ok()?;
            let here = member.bit_offset() / 8;
            let below = match (name.as_str(), rest) {
                (name, None) if name == field => return Some(here),
                (name, Some(rest)) if name == field => rest,
                ("", _) => fields,
                _ => return None,
            };
            Some(
                here + self
                    .descend(&self.plain(self.types.btf.resolve_chained_type(member).ok()?)?, below)?,
            )
        })
    }

    /// A type without its typedefs and qualifiers.
    fn plain(&self, kind: Type) -> Option<Type> {
        match &kind {
            Type::Typedef(alias) => self.plain(self.types.btf.resolve_chained_type(alias).ok()?),
            Type::Volatile(alias) | Type::Const(alias) | Type::Restrict(alias) => {
                self.plain(self.types.btf.resolve_chained_type(alias).ok()?)
            }
            _ => Some(kind),
        }
    }

    /// The first of several spellings that the kernel has, each with what to add to it.
    fn first(&self, spellings: &[(&str, u32)]) -> Result<u32, LayoutError> {
        spellings.iter().find_map(|(path, add)| Some(self.offset(path)? + add)).ok_or_else(|| {
            LayoutError::NoField(spellings.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", "))
        })
    }

    fn need(&self, path: &str) -> Result<u32, LayoutError> {
        self.first(&[(path, 0)])
    }

    /// The size of a structure in bytes.
    fn bytes(&self, name: &str) -> Result<u32, LayoutError> {
        let size = |kind: Type| match kind {
            Type::Struct(outer) => u32::try_from(outer.size()).ok(),
            _ => None,
        };
        self.types.named(name).find_map(size).ok_or_else(|| LayoutError::NoField(name.to_owned()))
    }

    fn optional(&self, path: &str) -> u32 {
        self.offset(path).unwrap_or(ABSENT)
    }

    /// Bits of `inode.i_state` that say that the inode is about to leave memory or has left it (`I_WILL_FREE`,
    /// `I_FREEING`, `I_CLEAR`). From about 6.18 on they are in the type information, under two names so far; before,
    /// they moved once, when the field became 32 bits wide.
    fn dying_bits(&self) -> u32 {
        const OF_64_BITS: u32 = 0b111 << 4;
        const OF_32_BITS: u32 = 0b111 << 6;
        let named = ["inode_state_flags_enum", "inode_state_flags_t"]
            .iter()
            .find_map(|name| self.enumerators(name, &["I_WILL_FREE", "I_FREEING", "I_CLEAR"]));
        match named {
            Some(bits) => bits,
            None if self.is_32_bits("inode", "i_state") => OF_32_BITS,
            None => OF_64_BITS,
        }
    }

    /// The values of those of an enumeration's members that it has, together. `None`: no such enumeration.
    fn enumerators(&self, name: &str, members: &[&str]) -> Option<u32> {
        let outer = self.types.named(name).find_map(|kind| match kind {
            Type::Enum(outer) => Some(outer),
            _ => None,
        })?;
        let named = |member: &&btf_rs::EnumMember| {
            self.types.btf.resolve_name(*member).is_ok_and(|name| members.contains(&name.as_str()))
        };
        Some(outer.members.iter().filter(named).fold(0, |bits, member| bits | member.val()))
    }

    /// Whether a field is an integer of 32 bits.
    fn is_32_bits(&self, outer: &str, field: &str) -> bool {
        let named =
            |member: &&btf_rs::Member| self.types.btf.resolve_name(*member).is_ok_and(|name| name == field);
        let width = |kind: Type| {
            let Type::Struct(outer) = kind else { return None };
            let member = outer.members.iter().find(named)?;
            match self.plain(self.types.btf.resolve_chained_type(member).ok()?)? {
                Type::Int(int) => Some(int.size()),
                _ => None,
            }
        };
        self.types.named(outer).find_map(width) == Some(4)
    }

    /// Whether the kernel has a function of this name that programs can attach to.
    pub fn has_function(&self, name: &str) -> bool {
        self.function(name).is_some()
    }

    /// Whether the kernel has this tracepoint.
    pub fn has_tracepoint(&self, name: &str) -> bool {
        !self.types.numbers(&tracepoint(name)).is_empty()
    }

    /// Its number among the kernel's types.
    pub(super) fn function_id(&self, name: &str) -> Option<u32> {
        let mut numbers = self.types.numbers(name).into_iter();
        numbers.find(|number| matches!(self.types.btf.resolve_type_by_id(*number), Ok(Type::Func(_))))
    }

    fn function(&self, name: &str) -> Option<btf_rs::FuncProto> {
        let function = self.types.named(name).find_map(|kind| match kind {
            Type::Func(function) => Some(function),
            _ => None,
        })?;
        match self.types.btf.resolve_chained_type(&function).ok()? {
            Type::FuncProto(prototype) => Some(prototype),
            _ => None,
        }
    }

    /// Name of the structure that a function's parameter points to.
    fn parameter(&self, function: &str, index: usize) -> Option<String> {
        let prototype = self.function(function)?;
        let pointer =
            self.plain(self.types.btf.resolve_chained_type(prototype.parameters.get(index)?).ok()?)?;
        let Type::Ptr(pointer) = pointer else { return None };
        match self.plain(self.types.btf.resolve_chained_type(&pointer).ok()?)? {
            Type::Struct(outer) => self.types.btf.resolve_name(&outer).ok(),
            _ => None,
        }
    }

    fn returns_pointer(&self, function: &str) -> bool {
        self.function(function)
            .and_then(|prototype| self.types.btf.resolve_type_by_id(prototype.return_type_id()).ok())
            .is_some_and(|kind| matches!(kind, Type::Ptr(_)))
    }

    /// Everything the BPF programs ask for. Spellings changed in 6.7 and 6.11 (times) and where noted.
    pub fn offsets(&self) -> Result<Offsets, LayoutError> {
        // `struct timespec64`: seconds, then nanoseconds.
        const NSEC: u32 = 8;
        let (btrfs, overlay) = (self.of_module("btrfs"), self.of_module("overlay"));
        let within = |module: &Option<Self>, path: &str| {
            let found = self.offset(path).or_else(|| module.as_ref()?.offset(path));
            found.unwrap_or(ABSENT)
        };
        Ok(Offsets {
            sb_dev: self.need("super_block.s_dev")?,
            sb_magic: self.need("super_block.s_magic")?,
            inode_bytes: self.bytes("inode")?,
            inode_sb: self.need("inode.i_sb")?,
            inode_ino: self.need("inode.i_ino")?,
            inode_generation: self.need("inode.i_generation")?,
            inode_mode: self.need("inode.i_mode")?,
            inode_uid: self.need("inode.i_uid")?,
            inode_gid: self.need("inode.i_gid")?,
            inode_nlink: self.need("inode.i_nlink")?,
            inode_size: self.need("inode.i_size")?,
            inode_mtime_sec: self.first(&[
                ("inode.i_mtime_sec", 0),
                ("inode.__i_mtime", 0),
                ("inode.i_mtime", 0),
            ])?,
            inode_mtime_nsec: self.first(&[
                ("inode.i_mtime_nsec", 0),
                ("inode.__i_mtime", NSEC),
                ("inode.i_mtime", NSEC),
            ])?,
            inode_ctime_sec: self.first(&[
                ("inode.i_ctime_sec", 0),
                ("inode.__i_ctime", 0),
                ("inode.i_ctime", 0),
            ])?,
            inode_ctime_nsec: self.first(&[
                ("inode.i_ctime_nsec", 0),
                ("inode.__i_ctime", NSEC),
                ("inode.i_ctime", NSEC),
            ])?,
            inode_rwsem_count: self.need("inode.i_rwsem.count")?,
            inode_dio_count: self.need("inode.i_dio_count")?,
            inode_writecount: self.need("inode.i_writecount")?,
            inode_mapping: self.need("inode.i_mapping")?,
            inode_state: self.need("inode.i_state")?,
            inode_dying: self.dying_bits(),
            mapping_writable: self.need("address_space.i_mmap_writable")?,
            mapping_host: self.need("address_space.host")?,
            inode_aliases: self.need("inode.i_dentry")?,
            dentry_inode: self.need("dentry.d_inode")?,
            dentry_parent: self.need("dentry.d_parent")?,
            dentry_name: self.need("dentry.d_name.name")?,
            dentry_alias: self.first(&[("dentry.d_u.d_alias", 0), ("dentry.d_alias", 0)])?,
            file_inode: self.need("file.f_inode")?,
            file_dentry: self.need("file.f_path.dentry")?,
            file_mode: self.need("file.f_mode")?,
            file_flags: self.need("file.f_flags")?,
            path_dentry: self.need("path.dentry")?,
            backing_dentry: self.optional("backing_file.user_path.dentry"),
            task_files: self.need("task_struct.files")?,
            files_fdt: self.need("files_struct.fdt")?,
            fdt_fd: self.need("fdtable.fd")?,
            fdt_max: self.need("fdtable.max_fds")?,
            task_flags: self.need("task_struct.flags")?,
            task_io_uring: self.optional("task_struct.io_uring"),
            task_status: self.optional("task_struct.thread_info.status"),
            regs_syscall: self.optional("pt_regs.orig_ax"),
            iattr_valid: self.need("iattr.ia_valid")?,
            kiocb_file: self.need("kiocb.ki_filp")?,
            kiocb_flags: self.need("kiocb.ki_flags")?,
            uring_task: self.optional("io_kiocb.task"),
            uring_tctx: self.optional("io_kiocb.tctx"),
            tctx_task: self.optional("io_uring_task.task"),
            task_tgid: self.need("task_struct.tgid")?,
            vm_fault_vma: self.need("vm_fault.vma")?,
            vm_fault_flags: self.need("vm_fault.flags")?,
            vma_file: self.need("vm_area_struct.vm_file")?,
            vma_flags: self.need("vm_area_struct.vm_flags")?,
            dio_iocb: self.optional("iomap_dio.iocb"),
            dio_flags: self.optional("iomap_dio.flags"),
            dio_waits: self.optional("iomap_dio.wait_for_completion"),
            btrfs_inode_vfs: within(&btrfs, "btrfs_inode.vfs_inode"),
            btrfs_inode_root: within(&btrfs, "btrfs_inode.root"),
            btrfs_root_id: within(&btrfs, "btrfs_root.root_key.objectid"),
            ovl_inode_vfs: within(&overlay, "ovl_inode.vfs_inode"),
            ovl_inode_upper: within(&overlay, "ovl_inode.__upperdentry"),
            rename_old_dentry: self.need("renamedata.old_dentry")?,
            rename_new_dentry: self.need("renamedata.new_dentry")?,
            rename_old_dir: self.first(&[("renamedata.old_dir", 0), ("renamedata.old_parent", 0)])?,
            rename_new_dir: self.first(&[("renamedata.new_dir", 0), ("renamedata.new_parent", 0)])?,
            rename_dirs_are_dentries: u32::from(self.offset("renamedata.old_parent").is_some()),
            create_dentry_arg: match self.parameter("vfs_create", 1).as_deref() {
                Some("dentry") => 1,
                _ => 2,
            },
            acl_takes_dentry: u32::from(self.parameter("set_posix_acl", 1).as_deref() == Some("dentry")),
            trampoline_key: self.optional("bpf_trampoline.key"),
            mkdir_returns_dentry: u32::from(self.returns_pointer("vfs_mkdir")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets that have not moved in any kernel of the last ten years, and one behind a nested typedef.
    #[test]
    fn the_running_kernel_resolves() {
        if !std::path::Path::new(VMLINUX).exists() {
            eprintln!("skipped: this kernel has no BTF");
            return;
        }
        let layout = Layout::of_running_kernel().expect("BTF");
        let offsets = layout.offsets().expect("every field");
        assert_eq!(offsets.inode_mode, 0);
        assert_eq!(offsets.unset(), Vec::<&str>::new());
        assert!(offsets.dentry_name > layout.need("dentry.d_name").expect("d_name"));
        assert!(layout.has_function("vfs_write"));
        assert!(!layout.has_function("vfs_wrote"));
        assert!(layout.need("inode.no_such_field").is_err());
    }
}
