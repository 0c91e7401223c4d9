//! What the protocol does, told event by event: a change of any step shows here first.
//!
//! `cargo insta review` shows what a change does to each story.

use simulation::stories;

#[test]
fn the_stories_are_as_they_were() {
    for name in stories::NAMES {
        let told = stories::tell(name).unwrap_or_else(|| panic!("there is no story {name:?}"));
        assert!(told.iter().all(|line| !line.contains("BROKEN")), "{name}: {told:#?}");
        let file: String = name.chars().filter(|c| *c != ',').map(|c| if c == ' ' { '_' } else { c }).collect();
        insta::assert_snapshot!(file, told.join("\n"));
    }
}
