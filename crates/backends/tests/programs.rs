//! Programs of jobs as processes: what they answer, how they end, and that nothing of them is left.

#![allow(clippy::unwrap_used, reason = "all of this is tests; helpers of theirs may unwrap like they do")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backends::local::LocalPrograms;
use backends::system::SystemClock;
use domain::job_context::JobContext;
use domain::job_program::{JobProgram, JobPrograms as _, MOST_OUTPUT};
use domain::record::JobError;
use domain::words::ErrorCategory;

fn context() -> JobContext {
    JobContext::new(Arc::new(SystemClock))
}

fn shell(script: &str) -> JobProgram {
    JobProgram::Command { words: ["sh", "-c", script].map(str::to_owned).to_vec(), env: Vec::new() }
}

async fn call(script: &str, input: &[u8]) -> Result<Vec<u8>, JobError> {
    let folder = tempfile::tempdir().unwrap();
    LocalPrograms::new(Some(folder.path().to_owned())).call(&shell(script), input.to_vec(), &context()).await
}

async fn failure(script: &str) -> (ErrorCategory, String) {
    let error = call(script, b"{}").await.unwrap_err();
    (error.category, error.message)
}

/// Whether a process is there and no zombie.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn gone(pid: &str) -> bool {
    for _ in 0..200 {
        if !lives(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[tokio::test]
async fn a_program_gets_its_input_and_gives_its_answer() {
    let input = vec![b'x'; 300_000];
    assert_eq!(call("cat", &input).await.unwrap(), input);
    assert_eq!(call("echo not reading the input", &input).await.unwrap(), b"not reading the input\n");
    assert_eq!(call("head -c 10 >/dev/null; exec 0<&-; echo some", &input).await.unwrap(), b"some\n");
}

#[tokio::test]
async fn a_program_stands_in_the_book_and_sees_only_what_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let programs = LocalPrograms::new(Some(folder.path().to_owned()));
    let answer = programs.call(&shell("pwd; env"), Vec::new(), &context()).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (place, env) = answer.split_once('\n').unwrap();
    assert_eq!(std::fs::canonicalize(place).unwrap(), std::fs::canonicalize(folder.path()).unwrap());
    assert!(env.contains("PATH=") && !env.contains("CARGO"), "{env}");
    let program = JobProgram::Command {
        words: ["sh", "-c", "env"].map(str::to_owned).to_vec(),
        env: vec!["CARGO_MANIFEST_DIR".into(), "NOT_THERE".into()],
    };
    let answer = programs.call(&program, Vec::new(), &context()).await.unwrap();
    assert!(String::from_utf8(answer).unwrap().contains("CARGO_MANIFEST_DIR="));
}

#[tokio::test]
async fn how_a_program_ends_badly_is_told_with_its_last_words() {
    let (category, message) = failure("echo first >&2; echo 'ValueError: no rates' >&2; exit 1").await;
    assert_eq!(category, ErrorCategory::Internal);
    assert_eq!(message, "sh ended with exit code 1: first\nValueError: no rates");
    assert_eq!(failure("exit 75").await.0, ErrorCategory::Transient);
    assert_eq!(failure("exit 65").await.0, ErrorCategory::Permanent);
    let (category, message) = failure("kill -9 $$").await;
    assert_eq!(
        (category, &message[..]),
        (ErrorCategory::Internal, "sh was ended by signal 9: it said nothing on stderr")
    );
    let (_, message) = failure("yes noise | head -c 5000000 >&2; echo the end >&2; exit 3").await;
    assert!(message.len() < 1_000 && message.ends_with("the end"), "{message}");
}

#[tokio::test]
async fn what_cannot_be_started_is_permanent() {
    let folder = tempfile::tempdir().unwrap();
    let named = |word: &str| JobProgram::Command { words: vec![word.to_owned()], env: Vec::new() };
    std::fs::write(folder.path().join("plain.py"), "print(1)").unwrap();
    let programs = LocalPrograms::new(Some(folder.path().to_owned()));
    for word in ["no-such-program-anywhere", "./missing.sh", "./plain.py"] {
        let error = programs.call(&named(word), Vec::new(), &context()).await.unwrap_err();
        assert_eq!(error.category, ErrorCategory::Permanent, "{word}");
        assert!(error.message.contains(word) && error.message.contains("check `command`"), "{}", error.message);
    }
    let lambda = JobProgram::Lambda { function: "f".into() };
    let error = programs.call(&lambda, Vec::new(), &context()).await.unwrap_err();
    assert!(error.message.contains("one machine cannot call"), "{}", error.message);
    let error = LocalPrograms::new(None).call(&named("sh"), Vec::new(), &context()).await.unwrap_err();
    assert!(error.message.contains("--book"), "{}", error.message);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_and_its_program_ended() {
    let most = call(&format!("head -c {MOST_OUTPUT} /dev/zero"), b"").await.unwrap();
    assert_eq!(most.len(), MOST_OUTPUT);
    for script in ["head -c 10000000 /dev/zero", "cat /dev/zero"] {
        let (category, message) = failure(script).await;
        assert_eq!(category, ErrorCategory::Permanent);
        assert!(message.contains("more than 4 MB"), "{message}");
    }
}

#[tokio::test]
async fn children_that_are_left_behind_are_ended_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let programs = LocalPrograms::new(Some(folder.path().to_owned()));
    let script = "sleep 600 & echo $! > left; echo answer";
    assert_eq!(programs.call(&shell(script), Vec::new(), &context()).await.unwrap(), b"answer\n");
    assert!(gone(&read(&folder.path().join("left"))).await);
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_when_its_time_is_up_or_nobody_waits_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let programs = LocalPrograms::new(Some(folder.path().to_owned()));
    let script = "trap '' TERM; sleep 600 & echo $! > left; echo $$ > own; exec 1>&-; wait";
    let pids = || [folder.path().join("own"), folder.path().join("left")].map(|path| read(&path));
    let started = async || {
        while pids().iter().any(String::is_empty) {
            tokio::task::yield_now().await;
        }
    };
    let context = context();
    let program = shell(script);
    let (ended, ()) = tokio::join!(programs.call(&program, Vec::new(), &context), async {
        started().await;
        context.time_is_up();
    });
    assert_eq!(ended.unwrap_err().category, ErrorCategory::Timeout);
    for pid in pids() {
        assert!(gone(&pid).await, "{pid}");
    }

    for name in ["own", "left"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let context = JobContext::new(Arc::new(SystemClock));
    tokio::select! {
        _ = programs.call(&program, Vec::new(), &context) => panic!("it ended"),
        () = started() => {}
    }
    for pid in pids() {
        assert!(gone(&pid).await, "{pid}");
    }
}
