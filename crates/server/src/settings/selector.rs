//! Tells CSS selectors from what browsers refuse as one.
//!
//! The recorder hands selectors to the browser, and records unmasked where the browser throws. So whatever is not
//! surely a selector is refused: what browsers of all ages know, without pseudo-elements, which match nothing.

/// Pseudo-classes without an argument that every browser knows.
const PLAIN: [&str; 24] = [
    "root",
    "empty",
    "first-child",
    "last-child",
    "only-child",
    "first-of-type",
    "last-of-type",
    "only-of-type",
    "link",
    "visited",
    "hover",
    "active",
    "focus",
    "target",
    "enabled",
    "disabled",
    "checked",
    "indeterminate",
    "required",
    "optional",
    "read-only",
    "read-write",
    "valid",
    "invalid",
];

/// Those that take selectors, and those that take a position.
const OF_SELECTORS: [&str; 3] = ["not", "is", "where"];
const OF_POSITION: [&str; 4] = ["nth-child", "nth-last-child", "nth-of-type", "nth-last-of-type"];

/// Levels of selectors within selectors.
const NESTING_MAX: u32 = 8;

/// What is wrong with a list of selectors; nothing where it is one.
pub(super) fn flaw(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text, nesting: 0 };
    match reader.list() {
        Err(wanted) => Some(format!("{wanted} expected at {:?}", reader.shown())),
        Ok(()) if reader.rest.is_empty() => None,
        Ok(()) => Some(format!("{:?} is too much", reader.shown())),
    }
}

struct Reader<'a> {
    rest: &'a str,
    nesting: u32,
}

type Read = Result<(), &'static str>;

impl Reader<'_> {
    fn shown(&self) -> String {
        self.rest.chars().take(20).collect()
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, wanted: char, name: &'static str) -> Read {
        if self.take(wanted) { Ok(()) } else { Err(name) }
    }

    fn blanks(&mut self) -> bool {
        let rest = self.rest.trim_start_matches([' ', '\t']);
        let had = rest.len() < self.rest.len();
        self.rest = rest;
        had
    }

    fn list(&mut self) -> Read {
        loop {
            self.blanks();
            self.complex()?;
            self.blanks();
            if !self.take(',') {
                return Ok(());
            }
        }
    }

    fn complex(&mut self) -> Read {
        loop {
            self.compound()?;
            let had_blanks = self.blanks();
            let has_combinator = ['>', '+', '~'].into_iter().any(|combinator| self.take(combinator));
            self.blanks();
            let is_over = self.rest.is_empty() || self.rest.starts_with([',', ')']);
            if !has_combinator && (is_over || !had_blanks) {
                return Ok(());
            }
        }
    }

    fn compound(&mut self) -> Read {
        let before = self.rest.len();
        if !self.take('*') && self.rest.starts_with(is_name_start) {
            self.name()?;
        }
        loop {
            if self.take('.') || self.take('#') {
                self.name()?;
            } else if self.take('[') {
                self.attribute()?;
            } else if self.take(':') {
                self.pseudo()?;
            } else {
                return if self.rest.len() < before { Ok(()) } else { Err("a selector") };
            }
        }
    }

    fn name(&mut self) -> Result<String, &'static str> {
        let end = self.rest.find(|letter| !is_name_part(letter)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let first = name.trim_start_matches('-').chars().next();
        if !first.is_some_and(|first| is_name_part(first) && !first.is_ascii_digit()) {
            return Err("a name");
        }
        self.rest = rest;
        Ok(name.to_ascii_lowercase())
    }

    fn attribute(&mut self) -> Read {
        self.blanks();
        self.name()?;
        self.blanks();
        if self.take(']') {
            return Ok(());
        }
        let _ = ['~', '|', '^', '$', '*'].into_iter().any(|sign| self.take(sign));
        self.expect('=', "=")?;
        self.blanks();
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let rest = &self.rest[1..];
                let end = rest.find(quote).ok_or("the closing quote")?;
                if rest[..end].contains('\\') {
                    return Err("a value without \\");
                }
                self.rest = &rest[end + 1..];
            }
            _ => drop(self.name()?),
        }
        if self.blanks() {
            let _ = self.take('i') || self.take('s');
        }
        self.blanks();
        self.expect(']', "]")
    }

    fn pseudo(&mut self) -> Read {
        let before = self.rest;
        let name = self.name()?;
        if !self.take('(') {
            if PLAIN.contains(&name.as_str()) {
                return Ok(());
            }
        } else if OF_SELECTORS.contains(&name.as_str()) && self.nesting < NESTING_MAX {
            self.nesting += 1;
            self.list()?;
            self.nesting -= 1;
            return self.expect(')', ")");
        } else if OF_POSITION.contains(&name.as_str()) {
            let end = self.rest.find(')').ok_or(")")?;
            if !is_position(&self.rest[..end]) {
                return Err("a position such as 2n+1");
            }
            self.rest = &self.rest[end + 1..];
            return Ok(());
        }
        self.rest = before;
        Err("a pseudo-class that every browser knows")
    }
}

fn is_name_start(letter: char) -> bool {
    is_name_part(letter) && !letter.is_ascii_digit()
}

fn is_name_part(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' || !letter.is_ascii()
}

/// Whether this is `odd`, `even`, `3`, `n`, `2n+1` or the like.
fn is_position(text: &str) -> bool {
    let text = text.trim();
    let is_number = |text: &str| {
        let digits = text.trim_start_matches(['+', '-']);
        !digits.is_empty() && text.len() - digits.len() <= 1 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split_once('n') {
        _ if matches!(text, "odd" | "even") => true,
        None => is_number(text),
        Some((step, start)) => {
            let start: String = start.split_whitespace().collect();
            (matches!(step, "" | "+" | "-") || is_number(step))
                && (start.is_empty() || (start.starts_with(['+', '-']) && is_number(&start)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_told_from_what_browsers_refuse() {
        for good in [
            "*",
            "p",
            ".a",
            "#pin",
            "a.b#c",
            "main > p",
            "a b, c ~ d",
            "[data-x]",
            "[type=email]",
            "[href^=\"https:\" i]",
            "li:nth-child(2n + 1)",
            ":not(.open, [hidden]) .x",
            "input:not(:checked)",
            "über-card",
            ".-x",
            "td:nth-child(odd)",
        ] {
            assert_eq!(flaw(good), None, "{good}");
        }
        for bad in [
            "",
            " ",
            ",",
            "a,",
            "a >",
            "..a",
            "#",
            ".1",
            "[",
            "[a",
            "[a=]",
            "[a='x]",
            "a:",
            "a::before",
            ":nope",
            ":not(",
            ":not()",
            ":nth-child()",
            ":nth-child(x)",
            "a{}",
            "a;b",
            "p)",
            "> p",
            "a > > b",
            ":has(a",
        ] {
            assert!(flaw(bad).is_some(), "{bad}");
        }
        assert!(flaw(&":not(".repeat(50)).is_some());
    }
}
