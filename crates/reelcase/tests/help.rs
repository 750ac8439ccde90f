//! `docs/commands.md` is what `--help` says. After a change: `REELCASE_UPDATE=1 cargo test -p reelcase --test help`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::path::Path;

use common::reelcase;

const INTRODUCTION: &str = "# Commands

What `reelcase COMMAND --help` says, all on one page. Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed or
damage found, 2 wrong usage, 3 exported without what is damaged, 4 objects of a newer release were met and left as they
are.
";

fn help(arguments: &[&str]) -> String {
    let output = reelcase().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names of the commands, in the order in which `reelcase --help` lists them.
fn commands() -> Vec<String> {
    let overview = help(&["--help"]);
    let list = overview.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_page_of_commands_is_what_help_says() {
    let mut page = INTRODUCTION.to_owned();
    for command in commands() {
        let text = help(&[command.as_str(), "--help"]);
        page.push_str(&format!("\n## reelcase {command}\n\n```text\n{}\n```\n", text.trim_end()));
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
        let text = help(&[command.as_str(), "--help"]);
        assert!(text.contains("Example"), "`reelcase {command} --help` has no example");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    for arguments in [&["ls"][..], &["export", "one", "--data", "d", "--format", "gif"], &["frobnicate"], &[]] {
        let output = reelcase().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}
