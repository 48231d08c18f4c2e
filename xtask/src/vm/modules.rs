//! Kernel modules: which are needed, and in which order. Debian's packages hold no `modules.dep`
//! (installing would make it), so the modules themselves are asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// Buses, filesystems and what the tests use; those built in or not there are passed over.
const WANTED: [&str; 12] = [
    "virtio_pci",
    "virtio_blk",
    "loop",
    "ext4",
    "xfs",
    "btrfs",
    "overlay",
    "fuse",
    "nfsd",
    "nfs",
    "nfsv4",
    "crc32c_generic",
];

/// A module's name and its uncompressed bytes.
pub(super) type Module = (String, Vec<u8>);

/// The wanted modules with all that they need, in an order in which they can be loaded.
pub(super) fn load(dir: &Path) -> Result<Vec<Module>> {
    let files = files(&dir.join("kernel"))?;
    let mut bytes = BTreeMap::new();
    let order = order(&WANTED, |name| {
        let Some(path) = files.get(name) else { return Ok(None) };
        let module = read(path)?;
        let needs = needs(&module);
        bytes.insert(name.to_owned(), module);
        Ok(Some(needs))
    })?;
    Ok(order.into_iter().filter_map(|name| bytes.remove_entry(&name)).collect())
}

/// Each module after those it needs. `needs` answers `None` for what need not or cannot be loaded.
fn order(wanted: &[&str], mut needs: impl FnMut(&str) -> Result<Option<Vec<String>>>) -> Result<Vec<String>> {
    let mut order = Vec::new();
    let mut begun = BTreeSet::new();
    // A name and whether what it needs has been put before it.
    let mut stack: Vec<(String, bool)> = wanted.iter().rev().map(|&name| (name.to_owned(), false)).collect();
    while let Some((name, ready)) = stack.pop() {
        if ready {
            order.push(name);
        } else if begun.insert(name.clone())
            && let Some(below) = needs(&name)?
        {
            stack.push((name, true));
            stack.extend(below.into_iter().map(|name| (name, false)));
        }
    }
    Ok(order)
}

/// What a module says that it needs: `depends=a,b` in its `.modinfo`, which is NUL-terminated strings.
fn needs(module: &[u8]) -> Vec<String> {
    let depends = module.split(|&byte| byte == 0).find_map(|text| text.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(depends.unwrap_or_default()).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A module's name from its file's: `kernel/fs/a-b.ko.xz` is `a_b`.
fn name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    Some(file.split_once(".ko")?.0.replace('-', "_"))
}

fn files(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            } else if let Some(name) = name(&entry.file_name().to_string_lossy()) {
                found.insert(name, entry.path());
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let compressed = match path.extension().and_then(|end| end.to_str()) {
        Some("ko") => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
        Some("xz") => Command::new("xz").args(["--decompress", "--stdout"]).arg(path).output(),
        Some("zst") => Command::new("zstd").args(["--decompress", "--stdout"]).arg(path).output(),
        _ => bail!("{}: a compression that is not known here", path.display()),
    };
    let output = compressed.with_context(|| format!("cannot decompress {}", path.display()))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cannot decompress {}: {}", path.display(), error.trim_end());
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_comes_after_those_it_needs() -> Result<()> {
        let order = order(&["xfs", "btrfs", "absent"], |name| {
            let list = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
            Ok(match name {
                "xfs" => list(&["libcrc32c"]),
                "btrfs" => list(&["xor", "raid6_pq", "libcrc32c", "built_in"]),
                "absent" | "built_in" => None,
                _ => list(&[]),
            })
        })?;
        let at = |name: &str| order.iter().position(|have| have == name);
        assert_eq!(order.len(), 5, "{order:?}");
        assert!(at("libcrc32c") < at("xfs") && at("xor") < at("btrfs") && at("raid6_pq") < at("btrfs"));
        Ok(())
    }

    #[test]
    fn a_circle_of_modules_ends() -> Result<()> {
        let order = order(&["a"], |name| Ok(Some(vec![if name == "a" { "b" } else { "a" }.to_owned()])))?;
        assert_eq!(order, ["b", "a"]);
        Ok(())
    }

    #[test]
    fn what_a_module_needs_is_read_from_its_own_words() {
        assert_eq!(needs(b"\x7fELF\0license=GPL\0depends=raid6-pq,xor\0intree=Y\0"), ["raid6_pq", "xor"]);
        assert!(needs(b"license=GPL\0depends=\0").is_empty());
        assert!(needs(b"").is_empty());
    }

    #[test]
    fn names_have_no_dashes_and_no_compression() {
        assert_eq!(name("kernel/drivers/block/virtio-blk.ko.xz").as_deref(), Some("virtio_blk"));
        assert_eq!(name("loop.ko").as_deref(), Some("loop"));
        assert_eq!(name("modules.order"), None);
    }
}
