//! A fresh directory for one test, which everybody may read.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use tempfile::TempDir;

#[derive(Debug)]
pub struct Scene(TempDir);

impl Scene {
    pub fn within(parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("scene-").tempdir_in(parent)?;
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        Ok(Self(dir))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> Result<PathBuf> {
        self.file_with(name, &[b'a'; 8192], 0o644)
    }

    pub fn file_with(&self, name: &str, contents: &[u8], mode: u32) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, contents)?;
        fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
        Ok(path)
    }

    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        Ok(path)
    }

    /// Many small files, named by their numbers.
    pub fn many(&self, count: u64) -> Result<Vec<PathBuf>> {
        (0..count).map(|number| self.file_with(&number.to_string(), b"old", 0o644)).collect()
    }
}
