//! Another process that changes files: the test program runs itself, since there is no other in the virtual
//! machine. It takes a command a line on its input and answers each with a line on its output.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    os::{fd::AsFd, unix::fs::FileExt},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    attempt::{self, Attempt},
    coherence,
    deadline::patience,
    entry, exclusion,
    long_write::{self, Means},
    op::{self, Change},
    sharer,
    stuck_write::StuckWrite,
    writer_client,
};

/// The argument that makes the test program a helper.
const PERFORM: &str = "--perform";
const WRITER_CLIENT: &str = "--writer-client";

/// Another process; ends when dropped.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Helper {
    pub fn start() -> Result<Self> {
        let mut child = myself(PERFORM).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the helper has no output")?);
        Ok(Self { child, commands, answers })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Does what comes before one of [`op::all`], on the stage in `dir`. The error number if the kernel refused it.
    pub fn prepare(&mut self, op: &str, dir: &Path) -> Result<Result<(), i32>> {
        self.order(&["prepare", op], dir)?;
        self.answer()
    }

    /// One of [`entry::CASES`] or the like, likewise.
    pub fn entry(&mut self, case: &str, dir: &Path) -> Result<Result<(), i32>> {
        self.order(&["entry", case], dir)?;
        self.answer()
    }

    /// Makes the change that was prepared, and keeps what it needs.
    pub fn change(&mut self) -> Result<Result<(), i32>> {
        self.say("change")?;
        self.answer()
    }

    /// Lets go of what the change needed.
    pub fn end(&mut self) -> Result<()> {
        self.say("end")?;
        self.finish()
    }

    /// One of [`op::all`] from begin to end.
    pub fn perform(&mut self, op: &str, dir: &Path) -> Result<Result<(), i32>> {
        let done = match self.prepare(op, dir)? {
            Ok(()) => self.change()?,
            refused => refused,
        };
        self.end()?;
        Ok(done)
    }

    /// Overwrites the start of a file.
    pub fn write(&mut self, file: &Path) -> Result<()> {
        self.begin_count(file, 1)?;
        self.finish()
    }

    /// Starts to write 1, 2, .. `count` to the start of a file.
    pub fn begin_count(&mut self, file: &Path, count: u64) -> Result<()> {
        self.order(&["count", &count.to_string()], file)
    }

    /// Starts to overwrite the files in `dir` whose names are numbers of the range.
    pub fn begin_touch(&mut self, dir: &Path, from: u64, to: u64) -> Result<()> {
        self.order(&["touch", &from.to_string(), &to.to_string()], dir)
    }

    /// Starts to overwrite all of a file in one go; the answer tells the end.
    pub fn begin_long_write(&mut self, means: Means, file: &Path) -> Result<()> {
        self.order(&["overwrite", &means.to_string()], file)
    }

    /// Begins a write of a file that gets stuck in the middle.
    pub fn begin_stuck_write(&mut self, file: &Path) -> Result<()> {
        self.carry_out(&["stick"], file)
    }

    /// Lets the write that is stuck go on, and waits for its end.
    pub fn finish_stuck_write(&mut self) -> Result<()> {
        self.carry_out(&["unstick"], Path::new("-"))
    }

    /// Sets the times of a file.
    pub fn mark(&mut self, file: &Path) -> Result<()> {
        self.carry_out(&["mark"], file)
    }

    pub fn unlink(&mut self, file: &Path) -> Result<()> {
        self.carry_out(&["unlink"], file)
    }

    /// Gives the file another name in its directory.
    pub fn rename(&mut self, file: &Path, name: &str) -> Result<()> {
        self.carry_out(&["rename", name], file)
    }

    /// Starts to try; the answer tells the end.
    pub fn begin(&mut self, attempt: Attempt, file: &Path) -> Result<()> {
        self.order(&["try", &format!("{attempt:?}")], file)
    }

    /// Tries. The error number if the kernel refused it.
    pub fn attempt(&mut self, attempt: Attempt, file: &Path) -> Result<Result<(), i32>> {
        self.begin(attempt, file)?;
        self.answer()
    }

    /// Whether what was begun has not ended yet.
    pub fn waits(&mut self) -> Result<bool> {
        self.is_silent(PollTimeout::ZERO)
    }

    fn is_silent(&self, time: PollTimeout) -> Result<bool> {
        let mut polled = [PollFd::new(self.answers.get_ref().as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut polled, time)? == 0)
    }

    /// Opens a file and keeps it open.
    pub fn hold(&mut self, file: &Path) -> Result<()> {
        self.carry_out(&["hold"], file)
    }

    /// Overwrites the start of the file that it holds open.
    pub fn write_held(&mut self) -> Result<()> {
        self.carry_out(&["write-held"], Path::new("-"))
    }

    /// Locks (or unlocks) bytes of the file that it holds open, without waiting, as `fcntl` lockers do. The error number if
    /// somebody else has a lock there.
    pub fn lock_held(&mut self, lock: bool, start: i64, length: i64) -> Result<Result<(), i32>> {
        let what = if lock { "lock-held" } else { "unlock-held" };
        self.order(&[what, &start.to_string(), &length.to_string()], Path::new("-"))?;
        self.answer()
    }

    /// Closes the file that it holds open.
    pub fn release(&mut self) -> Result<()> {
        self.carry_out(&["release"], Path::new("-"))
    }

    /// Waits until what was begun is done.
    pub fn finish(&mut self) -> Result<()> {
        self.answer()?.map_err(|errno| io::Error::from_raw_os_error(errno).into())
    }

    fn carry_out(&mut self, words: &[&str], path: &Path) -> Result<()> {
        self.order(words, path)?;
        self.finish()
    }

    fn order(&mut self, words: &[&str], path: &Path) -> Result<()> {
        let path = path.to_str().context("a path that is no text")?;
        self.say(&format!("{} {path}", words.join(" ")))
    }

    fn say(&mut self, command: &str) -> Result<()> {
        let commands = self.commands.as_mut().context("the helper has no input")?;
        Ok(writeln!(commands, "{command}")?)
    }

    /// Waits until what was begun is done. The error number if the kernel refused it.
    pub fn answer(&mut self) -> Result<Result<(), i32>> {
        // Less than a recall takes by default: nothing goes on because a lease was revoked.
        let patience = PollTimeout::try_from(3 * patience()).unwrap_or(PollTimeout::MAX);
        ensure!(!self.is_silent(patience)?, "the helper is not done in time");
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim_end().split_once(' ') {
            None if line == "done\n" => Ok(Ok(())),
            Some(("errno", number)) => Ok(Err(number.parse()?)),
            _ => bail!("the helper answered {line:?}"),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It ends at the end of its input; what it is at need not be finished.
        self.commands = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client in a process of its own that writes what it watches; returns how many upcalls it heard.
pub fn writer_client(address: &str, file: &Path, include_own: bool) -> Result<usize> {
    let own = if include_own { "own" } else { "others" };
    let output = myself(WRITER_CLIENT).args([address, own]).arg(file).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        bail!("the writing client ended with {}", output.status);
    }
    text.trim_end().parse().with_context(|| format!("the writing client said {text:?}"))
}

pub(crate) fn myself(role: &str) -> Command {
    // Under this name it is there even when a build has replaced it.
    let mut command = Command::new("/proc/self/exe");
    command.arg(role);
    command
}

/// Plays the role that the arguments ask for. `None`: they ask for none.
pub fn play() -> Option<Result<()>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match *words.as_slice() {
        [PERFORM] => Some(serve()),
        [coherence::ROLE, post] => Some(coherence::play(post)),
        [exclusion::ROLE, post] => Some(exclusion::play(post)),
        [sharer::ROLE, address, victim, file] => Some(sharer::play(address, victim, Path::new(file))),
        [WRITER_CLIENT, address, own, file] => {
            Some(writer_client::run(address, Path::new(file), own == "own"))
        }
        _ => None,
    }
}

/// What it has in hand from one command to the next.
#[derive(Default)]
struct Hands {
    prepared: Option<Change>,
    held: Option<File>,
    stuck: Option<StuckWrite>,
}

fn serve() -> Result<()> {
    let mut hands = Hands::default();
    for line in io::stdin().lines() {
        let answer = match obey(&line?, &mut hands) {
            Ok(()) => String::from("done"),
            Err(error) => match error.raw_os_error() {
                Some(number) => format!("errno {number}"),
                None => error.to_string(),
            },
        };
        let mut output = io::stdout();
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn obey(command: &str, hands: &mut Hands) -> io::Result<()> {
    let Hands { prepared, held, stuck } = hands;
    let words: Vec<&str> = command.split(' ').collect();
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    match *words.as_slice() {
        ["entry", name, dir] => entry::perform(name, Path::new(dir)),
        ["prepare", name, dir] => {
            let op = op::find(name).ok_or_else(|| io::Error::other("there is no such operation"))?;
            // What the one before holds goes first.
            *prepared = None;
            *prepared = Some(op.prepare(Path::new(dir))?);
            Ok(())
        }
        ["change"] => prepared.as_mut().ok_or_else(|| io::Error::other("nothing is prepared"))?(),
        ["end"] => {
            *prepared = None;
            Ok(())
        }
        ["count", count, file] => {
            let file = File::options().write(true).open(file)?;
            (1..=number(count)?).try_for_each(|number| file.write_all_at(&number.to_le_bytes(), 0))
        }
        ["overwrite", means, file] => long_write::write(means.parse()?, Path::new(file)),
        ["stick", file] => {
            *stuck = Some(StuckWrite::begin(Path::new(file))?);
            Ok(())
        }
        ["unstick", _] => stuck.take().ok_or_else(|| io::Error::other("nothing is stuck"))?.finish(),
        ["try", name, file] => Attempt::named(name)?.perform(Path::new(file)),
        ["mark", file] => {
            let file = File::options().write(true).open(file)?;
            // Once somebody has looked, the kernel stamps the next change apart from the last one.
            file.metadata()?;
            file.set_modified(UNIX_EPOCH)
        }
        ["touch", from, to, dir] => (number(from)?..number(to)?).try_for_each(|number| {
            let path = Path::new(dir).join(number.to_string());
            File::options().write(true).open(path)?.write_all_at(b"new", 0)
        }),
        ["unlink", file] => fs::remove_file(file),
        ["rename", name, file] => fs::rename(file, Path::new(file).with_file_name(name)),
        ["hold", file] => {
            *held = Some(File::options().read(true).write(true).open(file)?);
            Ok(())
        }
        ["write-held", _] => {
            let file = held.as_ref().ok_or_else(|| io::Error::other("nothing is held"))?;
            file.write_all_at(b"held", 0)
        }
        [what @ ("lock-held" | "unlock-held"), start, length, _] => {
            let file = held.as_ref().ok_or_else(|| io::Error::other("nothing is held"))?;
            let offset = |text: &str| text.parse().map_err(io::Error::other);
            attempt::lock(file, what == "lock-held", offset(start)?, offset(length)?)
        }
        ["release", _] => {
            *held = None;
            Ok(())
        }
        _ => Err(io::Error::other("not understood")),
    }
}
