//! Quoted words in the shell of this machine.

use std::process::Command;

use domain::night::next_step::{CommandTarget, next_step};
use domain::shell::command_line;
use proptest::prelude::*;

use crate::night_samples::*;

/// The words that `sh` reads from this line.
fn words_of(line: &str) -> Vec<String> {
    let output = Command::new("sh").arg("-c").arg(format!(r"printf '%s\0' {line}")).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\0').unwrap().split('\0').map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_shell_reads_the_same_words(words in prop::collection::vec(r#"([a-z '"$`\\!*?~#&|;<>(){}=\n\t%]|\PC){0,12}"#, 1..6)) {
        prop_assume!(words.iter().all(|word| !word.contains('\0')));
        prop_assert_eq!(words_of(&command_line(&words)), words);
    }
}

#[test]
fn an_advised_command_reaches_the_program_as_it_is_meant() {
    let book = "/srv/it's a \"book\" of $HOME";
    let target = CommandTarget::Folder { book: Some(book.into()), data: "/srv/data; rm x".into() };
    let step = next_step(&night(&[missed(1)]), &[], &target);
    let words = words_of(&step.command.unwrap());
    assert_eq!(words, ["nightbook", "run", "--book", book, "--data", "/srv/data; rm x", "--as-of", "2026-11-24"]);
}
