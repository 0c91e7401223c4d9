//! `nightbook deadletters`: messages of the cloud that were given up.

use std::process::ExitCode;

use crate::cli::DeadLettersCommand;
use crate::exit::BadInput;
use crate::output::Output;
use crate::place;

/// Runs the command.
pub(crate) async fn run(command: DeadLettersCommand, output: &Output) -> anyhow::Result<ExitCode> {
    let (data, redrive) = match command {
        DeadLettersCommand::List { data } => (data.data, false),
        DeadLettersCommand::Redrive { data } => (data.data, true),
    };
    let Some(table) = place::table(&data) else {
        let text = "only the cloud has dead letters: name its table with --data dynamodb://TABLE";
        return Err(BadInput(text.to_owned()).into());
    };
    #[cfg(feature = "aws")]
    {
        let cloud = crate::cloud::Cloud::connect(table).await?;
        if redrive { cloud.redrive(output).await } else { cloud.dead_letters(output).await }
    }
    #[cfg(not(feature = "aws"))]
    {
        let what = if redrive { "sent again" } else { "listed" };
        output.line(&format!("the dead letters of {table} cannot be {what}: this build knows no cloud"));
        Ok(crate::exit::BAD_INPUT.into())
    }
}
