//! The tree that is written and watched: stages, on which the operations of [`crate::op`] act, and a crowd of files.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::plan::{Fault, Plan};

/// What is watched of a stage; the first is the stage itself.
const SUBJECTS: [&str; 8] = ["", "file", "neighbour", "other", "dir", "dir/present", "dir/subdir", "dir2"];
const FILES: [&str; 4] = ["file", "neighbour", "other", "dir/present"];
const DIRS: [&str; 3] = ["dir", "dir/subdir", "dir2"];
/// What operations make anew, so it must not be there.
const RESULTS: [&str; 3] = ["dir/new", "dir2/new", "dir2/other"];

/// More than a dirty ring of one page has room for.
pub(crate) const CROWD: usize = 400;
const SIZE: usize = 8192;
/// A file that has grown beyond this starts anew.
const MOST_BYTES: u64 = 256 << 10;

/// Something that is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) stage: usize,
    place: usize,
}

#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    /// Those of the operations.
    stages: usize,
    crowd: bool,
}

impl Tree {
    pub(crate) fn new(root: &Path, plan: &Plan) -> Self {
        Self { root: root.to_owned(), stages: plan.stages, crowd: plan.has(Fault::Ring) }
    }

    /// The stage of the crowd, if there is one.
    pub(crate) fn crowd(&self) -> Option<usize> {
        self.crowd.then_some(self.stages)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// How many there are, with that of the crowd.
    pub(crate) fn stages(&self) -> usize {
        self.stages + usize::from(self.crowd)
    }

    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let of = |stage, places| (0..places).map(move |place| Subject { stage, place });
        let stages = (0..self.stages).flat_map(|stage| of(stage, SUBJECTS.len()));
        stages.chain(self.crowd().into_iter().flat_map(|stage| of(stage, CROWD))).collect()
    }

    pub(crate) fn stage(&self, stage: usize) -> PathBuf {
        self.root.join(format!("stage{stage}"))
    }

    pub(crate) fn path(&self, subject: Subject) -> PathBuf {
        let stage = self.stage(subject.stage);
        match SUBJECTS.get(subject.place) {
            Some(&"") if subject.stage < self.stages => stage,
            Some(below) if subject.stage < self.stages => stage.join(below),
            _ => stage.join(subject.place.to_string()),
        }
    }

    pub(crate) fn make(&self, rng: &mut Rng) -> io::Result<()> {
        for stage in 0..self.stages {
            make_dir(&self.stage(stage))?;
            repair(&self.stage(stage), rng)?;
        }
        if let Some(stage) = self.crowd() {
            make_dir(&self.stage(stage))?;
            (0..CROWD).try_for_each(|place| fill(&self.path(Subject { stage, place }), rng))?;
        }
        Ok(())
    }

    /// A pass over the files of the crowd.
    pub(crate) fn write_crowd(&self, stage: usize, rng: &mut Rng) -> io::Result<()> {
        (0..CROWD).try_for_each(|place| {
            let file = File::options().write(true).open(self.path(Subject { stage, place }))?;
            file.write_all_at(&rng.u64(..).to_le_bytes(), 0)
        })
    }
}

/// Puts back what operations have taken away, and takes away what they make, so that each finds its stage set; now
/// and then with other contents.
pub(crate) fn repair(stage: &Path, rng: &mut Rng) -> io::Result<()> {
    for dir in DIRS.map(|dir| stage.join(dir)) {
        if !dir.is_dir() {
            make_dir(&dir)?;
        }
    }
    for file in FILES.map(|file| stage.join(file)) {
        let there = fs::symlink_metadata(&file);
        let good = match &there {
            Ok(there) if there.is_file() => (SIZE as u64..MOST_BYTES).contains(&there.len()),
            Ok(_) => {
                fs::remove_file(&file)?;
                false
            }
            Err(_) => false,
        };
        if !good || rng.u8(..8) == 0 {
            fill(&file, rng)?;
        }
    }
    for result in RESULTS.map(|result| stage.join(result)) {
        match fs::remove_file(&result) {
            Err(error) if error.kind() == ErrorKind::IsADirectory => fs::remove_dir(&result)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn make_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o755))
}

/// Other contents, in the same inode if there is one.
fn fill(path: &Path, rng: &mut Rng) -> io::Result<()> {
    let mut bytes = [0; SIZE];
    rng.fill(&mut bytes);
    fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_is_made_and_made_again() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let tree = Tree::new(root.path(), &"stages=2 faults=ring".parse()?);
        let mut rng = Rng::with_seed(1);
        tree.make(&mut rng)?;
        assert_eq!(tree.subjects().len(), 2 * SUBJECTS.len() + CROWD);
        assert!(tree.subjects().into_iter().all(|subject| tree.path(subject).exists()));
        let stage = tree.stage(1);
        fs::rename(stage.join("other"), stage.join("dir/new"))?;
        fs::remove_dir(stage.join("dir/subdir"))?;
        fs::create_dir(stage.join("dir2/new"))?;
        fs::write(stage.join("file"), "short")?;
        repair(&stage, &mut rng)?;
        assert!(tree.subjects().into_iter().all(|subject| tree.path(subject).exists()));
        assert!(RESULTS.into_iter().all(|result| !stage.join(result).exists()));
        assert_eq!(fs::metadata(stage.join("file"))?.len(), SIZE as u64);
        Ok(())
    }
}
