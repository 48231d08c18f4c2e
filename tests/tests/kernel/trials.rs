//! The list of tests, and those of them that cannot run here.

use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};
use tests::{
    Result,
    deadline::in_vm,
    filesystem::{Filesystem, Filesystems, NAMES},
};

pub(crate) struct Trials<'a> {
    filesystems: &'a Filesystems,
    list: Vec<Trial>,
}

impl<'a> Trials<'a> {
    pub(crate) fn new(filesystems: &'a Filesystems) -> Self {
        Self { filesystems, list: Vec::new() }
    }

    pub(crate) fn list(self) -> Vec<Trial> {
        self.list
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.list.iter().map(|trial| trial.name().to_owned()).collect()
    }

    /// A test on each filesystem. It may find that the filesystem cannot do what it is about.
    pub(crate) fn on_each<F>(&mut self, what: &str, test: F)
    where
        F: Fn(&Filesystem) -> Result<Completion> + Clone + Send + 'static,
    {
        for (name, filesystem) in &self.filesystems.all {
            self.list.push(trial(format!("{name}::{what}"), filesystem.clone(), test.clone()));
        }
    }

    /// A test of what lies above filesystems. In the virtual machine, where much of a test's time goes into starting its
    /// daemon, on one of them alone.
    pub(crate) fn above<F>(&mut self, what: &str, test: F)
    where
        F: Fn(&Filesystem) -> Result<Completion> + Clone + Send + 'static,
    {
        if in_vm() { self.on(NAMES[0], what, test) } else { self.on_each(what, test) }
    }

    /// Tests that are put together for each filesystem.
    pub(crate) fn each_filesystem(&mut self, add: impl Fn(&mut Self, &'static str)) {
        NAMES.into_iter().for_each(|name| add(self, name));
    }

    /// A test on one filesystem.
    pub(crate) fn on<F>(&mut self, name: &str, what: &str, test: F)
    where
        F: Fn(&Filesystem) -> Result<Completion> + Send + 'static,
    {
        if let Some((_, filesystem)) = self.filesystems.all.iter().find(|(of, _)| *of == name) {
            self.list.push(trial(format!("{name}::{what}"), filesystem.clone(), test));
        }
    }

    /// A test of the daemon, on whatever filesystem and kernel there is.
    pub(crate) fn daemon<F>(&mut self, what: &str, test: F)
    where
        F: FnOnce(&Filesystem) -> Result<()> + Send + 'static,
    {
        self.once("daemon", what, test);
    }

    /// A test of what the daemon makes of this kernel, on whatever filesystem there is.
    pub(crate) fn kernel<F>(&mut self, what: &str, test: F)
    where
        F: FnOnce(&Filesystem) -> Result<()> + Send + 'static,
    {
        self.once("kernel", what, test);
    }

    fn once<F>(&mut self, group: &str, what: &str, test: F)
    where
        F: FnOnce(&Filesystem) -> Result<()> + Send + 'static,
    {
        let mut all = self.filesystems.all.iter().map(|(_, filesystem)| filesystem);
        let any = all.clone().find(|filesystem| filesystem.is_ok()).or_else(|| all.next());
        let any = any.cloned().unwrap_or_else(|| Err(String::from("no filesystem")));
        let test = move |filesystem: &Filesystem| test(filesystem).map(|()| Completion::Completed);
        self.list.push(trial(format!("{group}::{what}"), any, test));
    }

    /// A test of the daemon that needs two filesystems.
    pub(crate) fn daemon_between(&mut self, what: &str, test: fn(&Filesystem, &Filesystem) -> Result<()>) {
        let all = self.filesystems.all.iter().map(|(_, filesystem)| filesystem);
        let mut there = all.filter_map(|filesystem| filesystem.as_ref().ok());
        let (first, second) = match (there.next(), there.next()) {
            (Some(first), Some(second)) => (Ok(Arc::clone(first)), Some(Arc::clone(second))),
            _ => (Err(String::from("needs two filesystems")), None),
        };
        let test = move |first: &Filesystem| match &second {
            Some(second) => test(first, second).map(|()| Completion::Completed),
            None => Ok(Completion::ignored()),
        };
        self.list.push(trial(format!("daemon::{what}"), first, test));
    }
}

fn trial<F>(name: String, filesystem: Result<Arc<Filesystem>, String>, test: F) -> Trial
where
    F: FnOnce(&Filesystem) -> Result<Completion> + Send + 'static,
{
    match filesystem {
        Ok(filesystem) => Trial::ignorable_test(name, move || {
            test(&filesystem).map_err(|error| Failed::from(format!("{error:#}")))
        }),
        Err(reason) => Trial::test(name, || Ok(())).with_kind(reason).with_ignored_flag(true),
    }
}
