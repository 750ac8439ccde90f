//! Strangers' text on somebody's terminal.
//!
//! Recorded addresses, names and messages reach the screen of whoever lists recordings. A terminal obeys control
//! characters, and shows text with marks of direction in another order than it is in; both are shown as escapes.

use std::borrow::Cow;
use std::fmt::Write;

/// Longest text of a stranger's in a row that a person reads.
const CHARS_MAX: usize = 300;

/// One line's worth of text: nothing in it steers the terminal, and it ends somewhere.
pub(crate) fn line(text: &str) -> String {
    let mut line = visible(&text.chars().take(CHARS_MAX).collect::<String>(), rust_escape).into_owned();
    if text.chars().nth(CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}

/// A message of several lines, which may quote a stranger.
pub(crate) fn message(text: &str) -> String {
    text.split('\n').map(|line| visible(line, rust_escape)).collect::<Vec<_>>().join("\n")
}

/// JSON that means the same, without a character that steers the terminal.
pub(crate) fn json(text: &str) -> String {
    text.split('\n').map(|line| visible(line, json_escape)).collect::<Vec<_>>().join("\n")
}

/// Control characters, and those that change the direction or the breaks of the text around them.
fn steers(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(char, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn visible(text: &str, escape: fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if steers(char) { escape(&mut shown, char) } else { shown.push(char) }
    }
    Cow::Owned(shown)
}

fn rust_escape(shown: &mut String, char: char) {
    shown.extend(char.escape_unicode());
}

fn json_escape(shown: &mut String, char: char) {
    for unit in char.encode_utf16(&mut [0; 2]) {
        let _ = write!(shown, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_as_an_escape() {
        assert_eq!(line("http://a/\u{1b}[2J\u{7}x"), r"http://a/\u{1b}[2J\u{7}x");
        assert_eq!(line("\u{9b}31m\u{202e}gpj.exe\u{2066}"), r"\u{9b}31m\u{202e}gpj.exe\u{2066}");
        assert_eq!(line("a\nb\r\t\0"), r"a\u{a}b\u{d}\u{9}\u{0}");
        assert_eq!(line("grüße, 日本語"), "grüße, 日本語");
    }

    #[test]
    fn a_line_ends_somewhere() {
        assert_eq!(line(&"x".repeat(CHARS_MAX)).chars().count(), CHARS_MAX);
        assert_eq!(line(&"x".repeat(CHARS_MAX + 1)).chars().count(), CHARS_MAX + 1);
        assert!(line(&"x".repeat(1 << 20)).ends_with('…'));
    }

    #[test]
    fn json_keeps_its_meaning_and_its_lines() {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "url": "a\u{202e}\u{7f}\u{9b}\u{e0041}\u{1b}" }));
        let text = text.unwrap_or_default();
        let shown = json(&text);
        assert!(shown.is_ascii());
        assert_eq!(shown.lines().count(), 3);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).ok(),
            serde_json::from_str::<serde_json::Value>(&text).ok()
        );
    }

    #[test]
    fn a_message_keeps_its_hint_on_a_line_of_its_own() {
        assert_eq!(message("no \u{1b}x\nhint: y"), "no \\u{1b}x\nhint: y");
    }
}
