//! Programs of jobs as processes of this machine.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::job_context::JobContext;
use domain::job_program::{JobProgram, JobPrograms, MOST_OUTPUT};
use domain::record::JobError;
use domain::words::ErrorCategory;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::group::Group;
use crate::program_environment::program_environment;

/// How often the context is asked whether to go on.
const POLL: Duration = Duration::from_millis(25);

/// How long what a program has written may take to arrive once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much of the end of stderr a message carries, in bytes.
const SAID_BYTES: usize = 700;

/// By convention of sysexits.h: may go away by itself.
const EX_TEMPFAIL: i32 = 75;
/// By the same convention: the input cannot be used.
const EX_DATAERR: i32 = 65;

/// Calls commands in the folder of the book, each as the leader of a process group of its own.
#[derive(Debug, Clone)]
pub struct LocalPrograms {
    folder: Option<PathBuf>,
}

impl LocalPrograms {
    /// Commands are called in this folder; without one none can be.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }
}

/// What a program has said so far.
#[derive(Default)]
struct Heard {
    answer: Vec<u8>,
    too_much: bool,
    said: Vec<u8>,
}

type Ear = Arc<Mutex<Heard>>;

fn lock(ear: &Ear) -> std::sync::MutexGuard<'_, Heard> {
    ear.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl JobPrograms for LocalPrograms {
    async fn call(&self, program: &JobProgram, input: Vec<u8>, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let permanent = |what: String| JobError::new(ErrorCategory::Permanent, what);
        let (words, env) = match program {
            JobProgram::Command { words, env } => (words, env),
            JobProgram::Lambda { function } => {
                return Err(permanent(format!(
                    "the job is the Lambda function {function}, which one machine cannot call: give it a `command` in [[jobs]]"
                )));
            }
        };
        let folder = self.folder.as_deref().ok_or_else(|| {
            permanent("the folder of the book is not known here, and the program of the job stands in it: run it with --book DIR".to_owned())
        })?;
        let (name, arguments) =
            words.split_first().ok_or_else(|| permanent("the command of the job is empty".to_owned()))?;
        let mut child =
            command(folder, name, arguments, env).spawn().map_err(|error| not_started(name, folder, &error))?;
        let group = Group::led_by(child.id());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ear = Ear::default();
        // Dropped with this future, and then they end.
        let mut pipes = JoinSet::new();
        if let Some(mut stdin) = stdin {
            pipes.spawn(async move {
                // A program that does not read its input is not wrong; its answer tells.
                let _ = stdin.write_all(&input).await;
            });
        }
        if let Some(stdout) = stdout {
            pipes.spawn(listen(stdout, Arc::clone(&ear), |heard, bytes| {
                heard.too_much |= heard.answer.len() + bytes.len() > MOST_OUTPUT;
                if !heard.too_much {
                    heard.answer.extend_from_slice(bytes);
                }
            }));
        }
        if let Some(stderr) = stderr {
            pipes.spawn(listen(stderr, Arc::clone(&ear), |heard, bytes| {
                heard.said.extend_from_slice(bytes);
                let surplus = heard.said.len().saturating_sub(SAID_BYTES);
                heard.said.drain(..surplus);
            }));
        }
        let status = loop {
            tokio::select! {
                biased;
                status = child.wait() => break status,
                () = tokio::time::sleep(POLL) => {
                    context.check()?;
                    if lock(&ear).too_much {
                        return Err(too_much(name));
                    }
                }
            }
        };
        // Before the pipes are read to their end: children that were left behind keep them open.
        drop(group);
        let emptied = async { while pipes.join_next().await.is_some() {} };
        // A process that left the group may keep them open for ever: what it says is not waited for.
        let _ = tokio::time::timeout(LAST_WORDS, emptied).await;
        let heard = std::mem::take(&mut *lock(&ear));
        let status = status.map_err(|error| {
            JobError::new(ErrorCategory::Transient, format!("{name} could not be waited for: {error}"))
        })?;
        if heard.too_much {
            return Err(too_much(name));
        }
        if status.success() { Ok(heard.answer) } else { Err(ended_badly(name, status, &heard.said)) }
    }
}

fn command(folder: &Path, name: &str, arguments: &[String], env: &[String]) -> tokio::process::Command {
    // A name without a slash is looked for in PATH; any other is relative to the book, wherever this process stands.
    let program = if name.contains('/') { folder.join(name) } else { PathBuf::from(name) };
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(program_environment(env))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Reads a pipe to its end. What is not kept is read all the same: a program that cannot write would hang.
async fn listen(mut pipe: impl AsyncRead + Unpin, ear: Ear, keep: impl Fn(&mut Heard, &[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        keep(&mut lock(&ear), &buffer[..read]);
    }
}

fn not_started(name: &str, folder: &Path, error: &std::io::Error) -> JobError {
    let category = match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::InvalidInput => {
            ErrorCategory::Permanent
        }
        _ => ErrorCategory::Transient,
    };
    let place = folder.display();
    JobError::new(category, format!("{name} could not be started in {place} ({error}): check `command` in [[jobs]]"))
}

fn too_much(name: &str) -> JobError {
    let most = MOST_OUTPUT >> 20;
    JobError::new(
        ErrorCategory::Permanent,
        format!("{name} answered with more than {most} MB, the most that a result may have: give back less"),
    )
}

fn ended_badly(name: &str, status: ExitStatus, said: &[u8]) -> JobError {
    use std::os::unix::process::ExitStatusExt as _;
    let category = match status.code() {
        Some(EX_TEMPFAIL) => ErrorCategory::Transient,
        Some(EX_DATAERR) => ErrorCategory::Permanent,
        // As a panic: a defect, which may go away.
        _ => ErrorCategory::Internal,
    };
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended badly".to_owned(),
    };
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    let said = if said.is_empty() { "it said nothing on stderr".to_owned() } else { said.to_owned() };
    JobError::new(category, format!("{name} {how}: {said}"))
}
