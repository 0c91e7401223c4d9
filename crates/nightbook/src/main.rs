//! The command line of Nightbook.

mod book_folder;
mod cli;
#[cfg(feature = "aws")]
mod cloud;
mod commands;
mod control;
mod engine;
mod environment;
mod exit;
mod lineage_sink;
mod live_settings;
mod logging;
mod metrics;
mod output;
mod place;
mod price_shelf;
mod progress;
mod reading;
mod run_control;
mod sample;
mod scheduler;
mod settings_reload;
mod site_settings;
mod stop;
mod trace_sink;
mod web;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Cli, Command};
use crate::metrics::Metrics;
use crate::output::Output;
use crate::progress::Bars;
use crate::stop::Stop;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = match catch_unwind(AssertUnwindSafe(|| start(cli))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            let where_to = if output::lost().is_some() { "cannot write to standard output: " } else { "" };
            output::error(&domain::redact::redact(&format!("{where_to}{error:#}")));
            exit::code_of(&error)
        }
        // The hook has printed what and where.
        Err(_) => {
            output::error(&format!(
                "the program failed, as printed above; if it could not start a thread, {MORE_ROOM}"
            ));
            exit::STORE.into()
        }
    };
    match output::lost() {
        Some(reason) if code == ExitCode::SUCCESS => {
            output::error(&format!(
                "cannot write to standard output: {reason}; the command did its work, and what it printed is incomplete"
            ));
            exit::STORE.into()
        }
        _ => code,
    }
}

/// What to do where the machine has too little of something.
const MORE_ROOM: &str = "raise the limits of this process (`ulimit -a`) and run the same command again";

/// The runtime, with all of its threads.
///
/// A thread that cannot be started is a panic in `tokio`. Unwinding from it would wait forever for the threads that were
/// started before, so the program ends in the hook.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|panic| {
        let reason = panic.payload_as_str().unwrap_or("a thread cannot be started");
        output::error(&format!("the program cannot start: {reason}; {MORE_ROOM}"));
        std::process::exit(exit::STORE.into());
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    std::panic::set_hook(default_hook);
    Ok(runtime?)
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(dispatch(cli));
    // A job that ignored its time limit may still hold a thread: the process does not wait for it.
    runtime.shutdown_background();
    outcome
}

#[expect(clippy::too_many_lines, reason = "one table: an arm for each command")]
async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let output = Output::new(cli.json);
    let long = matches!(
        cli.command,
        Command::Run { .. } | Command::Demo { .. } | Command::Rerun { .. } | Command::Serve { .. }
    );
    let bars = Bars::new(long && !matches!(cli.command, Command::Serve { .. }));
    let log_file = match &cli.command {
        Command::Serve { data, .. } => {
            place::folder(&data.data)?;
            let logs = data.data.join("logs");
            std::fs::create_dir_all(&logs)?;
            Some(logs.join("nightbook.log"))
        }
        _ => None,
    };
    // The demo tells its own story; a run logs what an operator wants to have seen.
    let default_level = match &cli.command {
        Command::Demo { .. } => "error",
        Command::Run { .. } | Command::Rerun { .. } | Command::Serve { .. } | Command::Cancel { .. } => "info",
        _ => "warn",
    };
    let metrics = Metrics::default();
    let counted = matches!(cli.command, Command::Serve { .. }).then(|| metrics.clone());
    logging::set_up(&environment::logs(), default_level, bars.multi(), log_file.as_deref(), counted)?;
    let stop = Stop::on_signals()?;
    match cli.command {
        Command::Demo { dir, no_serve, as_of, listen } => {
            let listen = (!no_serve).then_some(listen.as_str());
            commands::demo::run(&dir, as_of, listen, &output, &bars, stop).await
        }
        Command::Init { dir } => commands::init::run(&dir, &output),
        Command::Run { book, data, as_of, from, to, portfolios, trigger, again, plan, concurrency, wait } => {
            let asked = commands::run::Asked {
                book: book.book,
                data: data.data,
                as_of,
                span: from.zip(to),
                portfolios,
                trigger,
                again,
                plan,
                concurrency,
                wait,
            };
            commands::run::run(asked, &output, &bars, stop).await
        }
        Command::Serve { book, data, listen } => {
            commands::serve::run(&book.book, &data.data, &listen, &output, metrics, stop).await
        }
        Command::Check { book } => commands::check::run(&book.book, &output),
        Command::History { data, status, month, limit, after } => {
            commands::history::run(&data.data, status, month, limit, after, &output).await
        }
        Command::Accept { as_of, control, portfolio, note, author, data } => {
            let author = author.unwrap_or_else(commands::accept::default_author);
            let request = app::AcceptRequest { as_of, series: None, control, portfolio, author, note };
            commands::accept::run(&data.data, request, &output, stop).await
        }
        Command::Night { as_of, data } => commands::night::run(&data.data, as_of, &output).await,
        Command::Show { run, data, portfolio, job, job_type } => {
            let filter = commands::show::Filter { portfolio, job, job_type };
            commands::show::run(&data.data, &run, &filter, &output).await
        }
        Command::Last { job, data, portfolio } => {
            commands::last::run(&data.data, &job, portfolio.as_ref(), &output).await
        }
        Command::Failures { data, since } => commands::failures::run(&data.data, since, &output).await,
        Command::Rerun { run, data, failed, cause, concurrency, wait } => {
            let asked = commands::rerun::Asked { data: data.data, run, failed_only: failed, cause, concurrency, wait };
            commands::rerun::run(asked, &output, &bars, stop).await
        }
        Command::Cancel { run, data } => commands::cancel::run(&data.data, &run, &output, stop).await,
        Command::Doctor { data, link } => commands::doctor::run(&data.data, &link, &output).await,
        Command::Publish { data, rebuild, book } => {
            commands::publish::run(&data.data, rebuild, book.as_deref(), &output, stop).await
        }
        Command::Export { run, data, format } => commands::export::run(&data.data, &run, format).await,
        Command::Alert { command } => commands::alert::run(command, &output, stop).await,
        Command::DeadLetters { command } => commands::deadletters::run(command, &output).await,
        Command::Backup { to, verify: true, .. } => commands::doctor::verify_backup(&to, &output).await,
        Command::Backup { to, data, .. } => commands::doctor::backup(&data.data, &to, &output).await,
        Command::Completions { shell } => {
            // Not to standard output itself: it takes no error for an answer.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "nightbook", &mut script);
            output::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
