//! `docs/commands.md` is what `--help` says. After a change: `REELCASE_UPDATE=1 cargo test -p reelcase --test help`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::path::Path;

use common::reelcase;

const INTRODUCTION: &str = "# Commands

What `reelcase COMMAND --help` says, all on one page. Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed or
damage found, 2 wrong usage, 3 done without what is damaged or missing, 4 objects of a newer release were met and left as
they are.
";

fn help(arguments: &[&str]) -> String {
    let output = reelcase().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands, each followed by those below it, in the order in which `--help` lists them.
fn commands() -> Vec<Vec<String>> {
    commands_below(&[])
}

fn commands_below(above: &[String]) -> Vec<Vec<String>> {
    let overview = help_of(above);
    let Some(list) = overview.split("Commands:\n").nth(1) else { return Vec::new() };
    let lines = list.split("\n\n").next().unwrap().lines();
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    let commands = names.filter(|name| *name != "help").map(|name| [above, &[name.to_owned()]].concat());
    commands.flat_map(|command| [vec![command.clone()], commands_below(&command)].concat()).collect()
}

fn help_of(command: &[String]) -> String {
    let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    help(&arguments)
}

#[test]
fn the_page_of_commands_is_what_help_says() {
    let mut page = INTRODUCTION.to_owned();
    for command in commands() {
        let (name, text) = (command.join(" "), help_of(&command));
        page.push_str(&format!("\n## reelcase {name}\n\n```text\n{}\n```\n", text.trim_end()));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    if std::env::var_os("REELCASE_UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/commands.md is out of date: REELCASE_UPDATE=1 cargo test -p reelcase --test help");
}

#[test]
fn every_command_shows_an_example() {
    for command in commands() {
        let (name, text) = (command.join(" "), help_of(&command));
        assert!(text.contains("Example"), "`reelcase {name} --help` has no example");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    for arguments in [&["ls"][..], &["export", "one", "--data", "d", "--format", "gif"], &["frobnicate"], &[]] {
        let output = reelcase().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    for (command, expected) in [("delete", "<IDS|--where <NAME=VALUE>>"), ("export", "<ID|--to <DIR>>")] {
        let nothing = reelcase().args([command, "--data", "d"]).output().unwrap();
        let said = String::from_utf8(nothing.stderr).unwrap();
        assert!(nothing.status.code() == Some(2) && said.contains(expected), "{said}");
    }
}
