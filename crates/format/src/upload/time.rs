//! ISO 8601 as JavaScript's `toISOString` and the mobile SDKs write it.

const MS_PER_MINUTE: i64 = 60_000;
const MS_PER_DAY: i64 = 24 * 60 * MS_PER_MINUTE;

/// Reads `2026-11-21T02:07:15.600Z` as ms since 1970. Fractions of any length, offsets (`+02:00`, `+0200`, `+02`), a
/// blank for the `T` and a date alone are taken; without a zone it is UTC. `None` for anything else.
pub fn parse_time_ms(text: &str) -> Option<i64> {
    let mut rest = text.trim().as_bytes();
    let year = digits(&mut rest, 4)?;
    let month = punctuated(&mut rest, b'-', 1..=12)?;
    let day = punctuated(&mut rest, b'-', 1..=31)?;
    let midnight_ms = days_since_1970(year, month, day) * MS_PER_DAY;
    let Some((b'T' | b't' | b' ', after)) = rest.split_first() else {
        return if rest.is_empty() { Some(midnight_ms) } else { None };
    };
    rest = after;
    let hour = digits(&mut rest, 2).filter(|hour| *hour < 24)?;
    let minute = punctuated(&mut rest, b':', 0..=59)?;
    // 60 is a leap second.
    let second = if rest.first() == Some(&b':') { punctuated(&mut rest, b':', 0..=60)? } else { 0 };
    let milliseconds = fraction_ms(&mut rest)?;
    let offset_ms = zone_ms(rest)?;
    Some(midnight_ms + ((hour * 60 + minute) * 60 + second) * 1000 + milliseconds - offset_ms)
}

/// Days by the Gregorian calendar (H. Hinnant, `days_from_civil`): years begin in March, so the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn fraction_ms(rest: &mut &[u8]) -> Option<i64> {
    let Some((b'.' | b',', after)) = rest.split_first() else { return Some(0) };
    let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, after) = after.split_at(length);
    *rest = after;
    let place = |index: usize| fraction.get(index).map_or(0, |digit| i64::from(digit - b'0'));
    if length == 0 { None } else { Some(place(0) * 100 + place(1) * 10 + place(2)) }
}

fn zone_ms(mut rest: &[u8]) -> Option<i64> {
    let sign = match rest.split_first() {
        None | Some((b'Z' | b'z', [])) => return Some(0),
        Some((b'+', _)) => 1,
        Some((b'-', _)) => -1,
        Some(_) => return None,
    };
    rest = &rest[1..];
    let hours = digits(&mut rest, 2).filter(|hours| *hours < 24)?;
    rest = rest.strip_prefix(b":").unwrap_or(rest);
    let minutes = if rest.is_empty() { 0 } else { digits(&mut rest, 2).filter(|minutes| *minutes < 60)? };
    if rest.is_empty() { Some(sign * (hours * 60 + minutes) * MS_PER_MINUTE) } else { None }
}

/// Reads a mark and two digits within a range.
fn punctuated(rest: &mut &[u8], mark: u8, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    *rest = rest.strip_prefix(&[mark])?;
    digits(rest, 2).filter(|number| range.contains(number))
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let number = rest.get(..count)?;
    *rest = &rest[count..];
    number.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2026-11-21T02:07:15.600Z", 1_795_226_835_600),
            ("2026-11-21T02:07:15Z", 1_795_226_835_000),
            ("2026-11-21T04:07:15.6+02:00", 1_795_226_835_600),
            ("2026-11-21 04:07:15.600999+0200", 1_795_226_835_600),
            ("2026-11-20T21:37:15.600-04:30", 1_795_226_835_600),
            ("2026-11-21T02:07", 1_795_226_820_000),
            ("2000-02-29", 951_782_400_000),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(parse_time_ms(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_time() {
        for text in [
            "",
            "now",
            "1795226835600",
            "2026-13-01",
            "2026-00-01",
            "2026-01-32",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00X",
            "2026-01-01T00:00:00+2:00",
            "é026-01-01",
        ] {
            assert_eq!(parse_time_ms(text), None, "{text}");
        }
    }
}
