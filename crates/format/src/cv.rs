//! Undoes posthog-js's compression within events (`cv`), so that a recording is stored and read as plain JSON.
//!
//! Since 1.165 the client replaces the bulky parts of an event by gzip in a string, one character per byte, and marks
//! the event with `"cv":"2024-10"`. Compressed twice, such an event hides from every later compressor what it shares
//! with its neighbours; undone, a recording takes half the space. Only the parts named by the format are touched, and
//! what comes out is spliced in as text, so all else keeps its bytes and its order.
//!
//! An event that cannot be undone is kept as it was sent: a part nobody can read may still be read one day.

use std::ops::Range;

use crate::event::{EventHead, kind, source};
use crate::json::{append_compact, has_controls, latin1, skip_blanks, skip_known, skip_value, text};
use crate::limits::Limits;
use crate::upload::gzip::{GunzipError, gunzip};

/// The one version of the format there is, as raw JSON.
const VERSION: &[u8] = b"\"2024-10\"";

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CvOutcome {
    /// Nothing in it was compressed.
    Plain,
    /// It was compressed, and is plain now.
    Undone,
    /// It is compressed still, and was appended as sent.
    Kept(CvProblem),
}

/// Why an event's compression could not be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CvProblem {
    /// Written by a newer client than this server knows.
    #[error("the event's compression is of an unknown version")]
    UnknownVersion,
    /// The format compresses nothing in events of this kind.
    #[error("the event is marked as compressed, but is of a kind that never is")]
    UnknownEvent,
    /// A part inflates past the limit of one part, or of what the upload has left.
    #[error("a part of the event inflates to too much")]
    TooLarge,
    /// A part is no gzip, or was changed on its way.
    #[error("a part of the event is not intact gzip")]
    Corrupt,
    /// A part inflates to something that is not JSON, or is nested too deeply.
    #[error("a part of the event is not JSON")]
    NotJson,
}

impl CvProblem {
    /// The problem as a word for counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownVersion => "cv_unknown_version",
            Self::UnknownEvent => "cv_unknown_event",
            Self::TooLarge => "cv_too_large",
            Self::Corrupt => "cv_corrupt",
            Self::NotJson => "cv_not_json",
        }
    }
}

/// Appends one checked event to `out`, on one line, with its compression undone and `cv` dropped.
///
/// `budget` is how many bytes the parts of one upload may still inflate to; start it at [`Limits::fields_bytes_max`].
/// Never fails: what cannot be undone is appended as sent, and reported.
pub fn plain_event(raw: &[u8], limits: &Limits, budget: &mut usize, out: &mut Vec<u8>) -> CvOutcome {
    let head = EventHead::read(raw);
    plain_event_of(raw, head.as_ref(), limits, budget, out)
}

/// Does as [`plain_event`], for an event whose head was read already.
pub fn plain_event_of(
    raw: &[u8],
    head: Option<&EventHead<'_>>,
    limits: &Limits,
    budget: &mut usize,
    out: &mut Vec<u8>,
) -> CvOutcome {
    let start = out.len();
    let outcome = match head {
        Some(head) if head.cv.is_some() => {
            match undo_event(raw, head, &mut Undo { limits, budget, packed: Vec::new() }, out) {
                Ok(()) => CvOutcome::Undone,
                Err(problem) => CvOutcome::Kept(problem),
            }
        }
        _ => CvOutcome::Plain,
    };
    if outcome != CvOutcome::Undone {
        out.truncate(start);
        append_compact(raw, out);
    }
    outcome
}

/// What undoing an event needs beside the event.
struct Undo<'b> {
    limits: &'b Limits,
    budget: &'b mut usize,
    /// The gzip of one part; here so that its memory is used again.
    packed: Vec<u8>,
}

/// Which parts of an event the format compresses.
enum Parts {
    /// The whole `data`.
    Data,
    /// Members of `data`.
    Members(&'static [&'static str]),
}

fn undo_event(raw: &[u8], head: &EventHead<'_>, undo: &mut Undo<'_>, out: &mut Vec<u8>) -> Result<(), CvProblem> {
    let parts = compressed_parts(head)?;
    let mut object = ObjectWriter::begin(out);
    let mut members = RawMembers::of(raw, head.data);
    while let Some(key) = members.next_key() {
        match (text(key).as_deref(), &parts) {
            (Some("cv"), _) => drop(members.value()),
            (Some("data"), Parts::Data) => undo.append_part(key, &mut members, &mut object)?,
            (Some("data"), Parts::Members(names)) if members.rest().first() == Some(&b'{') => {
                object.key(key);
                undo.append_data(members.value(), names, object.out)?;
            }
            _ => object.member(key, members.value()),
        }
    }
    object.end();
    Ok(())
}

/// Reads from version and kind of the event what there is to undo.
fn compressed_parts(head: &EventHead<'_>) -> Result<Parts, CvProblem> {
    if head.cv != Some(VERSION) {
        return Err(CvProblem::UnknownVersion);
    }
    match (head.kind, head.source) {
        (kind::FULL_SNAPSHOT, _) => Ok(Parts::Data),
        (kind::INCREMENTAL, Some(source::MUTATION)) => Ok(Parts::Members(&["texts", "attributes", "removes", "adds"])),
        (kind::INCREMENTAL, Some(source::STYLE_SHEET_RULE)) => Ok(Parts::Members(&["adds", "removes"])),
        _ => Err(CvProblem::UnknownEvent),
    }
}

impl Undo<'_> {
    fn append_data(&mut self, data: &[u8], names: &[&str], out: &mut Vec<u8>) -> Result<(), CvProblem> {
        let mut object = ObjectWriter::begin(out);
        let mut members = RawMembers::of(data, None);
        while let Some(key) = members.next_key() {
            if text(key).is_some_and(|name| names.contains(&name.as_ref())) {
                self.append_part(key, &mut members, &mut object)?;
            } else {
                object.member(key, members.value());
            }
        }
        object.end();
        Ok(())
    }

    /// Appends a member that may be compressed. One that is no string was not; an empty string means that it is absent.
    fn append_part(
        &mut self,
        key: &[u8],
        members: &mut RawMembers<'_>,
        object: &mut ObjectWriter<'_>,
    ) -> Result<(), CvProblem> {
        if members.rest().first() != Some(&b'"') {
            object.member(key, members.value());
            return Ok(());
        }
        self.packed.clear();
        let value_bytes = latin1(members.rest(), &mut self.packed).ok_or(CvProblem::Corrupt)?;
        members.step_over(value_bytes);
        if self.packed.is_empty() {
            return Ok(());
        }
        object.key(key);
        self.append_inflated(object.out)
    }

    fn append_inflated(&mut self, out: &mut Vec<u8>) -> Result<(), CvProblem> {
        if is_empty_array(&self.packed) {
            out.extend_from_slice(b"[]");
            return Ok(());
        }
        let limits = self.limits;
        let ratio_max = limits.inflated_bytes_for(self.packed.len());
        let inflated_bytes_max = limits.field_bytes_max.min(ratio_max).min(*self.budget);
        let start = out.len();
        if let Err(error) = gunzip(&self.packed, inflated_bytes_max, out) {
            // What was inflated in vain was work too, and thousands of bombs fit into one upload.
            *self.budget -= inflated_bytes_max;
            return Err(match error {
                GunzipError::TooLarge => CvProblem::TooLarge,
                GunzipError::Corrupt => CvProblem::Corrupt,
            });
        }
        *self.budget -= out.len() - start;
        make_one_value(start, limits.nesting_max, out)
    }
}

/// Checks that what was appended at `start` is one JSON value, and puts it on one line.
fn make_one_value(start: usize, nesting_max: usize, out: &mut Vec<u8>) -> Result<(), CvProblem> {
    let end = skip_value(out, start, nesting_max).map_err(|_| CvProblem::NotJson)?;
    if skip_blanks(out, end) != out.len() {
        return Err(CvProblem::NotJson);
    }
    if has_controls(&out[start..]) {
        let value = out.split_off(start);
        append_compact(&value, out);
    }
    Ok(())
}

/// Recognises gzip of `[]`, which three of the four parts of most mutations are. Only the time in its header varies.
fn is_empty_array(packed: &[u8]) -> bool {
    const HEADER_BYTES: usize = 10;
    /// The compressed block, CRC-32 and size.
    const BODY: &[u8] = b"\x8b\x8e\x05\x00\x29\xbb\x4c\x0d\x02\x00\x00\x00";
    // A header without optional fields: magic, deflate, no flags.
    packed.len() == HEADER_BYTES + BODY.len() && packed.starts_with(b"\x1f\x8b\x08\x00") && packed.ends_with(BODY)
}

/// Walks a checked object's members with their names as written, quotes and escapes included. After each
/// [`RawMembers::next_key`], the value is to be taken or stepped over.
struct RawMembers<'a> {
    object: &'a [u8],
    at: usize,
    /// Where a value lies that need not be walked to find its end.
    known: Range<usize>,
}

impl<'a> RawMembers<'a> {
    /// Stands before the first member. `known` is the value of one of them, if it is known.
    fn of(object: &'a [u8], known: Option<&[u8]>) -> Self {
        let known = known.unwrap_or_default().as_ptr_range();
        let begin = object.as_ptr().addr();
        let offset = |of: *const u8| of.addr().wrapping_sub(begin);
        Self { object, at: 1, known: offset(known.start)..offset(known.end) }
    }

    fn next_key(&mut self) -> Option<&'a [u8]> {
        let start = skip_blanks(self.object, self.at);
        let end = skip_known(self.object, start).ok()?;
        self.at = skip_blanks(self.object, skip_blanks(self.object, end) + 1);
        Some(&self.object[start..end])
    }

    /// All that follows the name's colon.
    fn rest(&self) -> &'a [u8] {
        self.object.get(self.at..).unwrap_or_default()
    }

    fn value(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let value_bytes = match self.known.clone() {
            known if known.start == self.at && known.len() <= rest.len() => known.len(),
            _ => skip_known(rest, 0).unwrap_or(rest.len()),
        };
        self.step_over(value_bytes);
        &rest[..value_bytes]
    }

    fn step_over(&mut self, value_bytes: usize) {
        self.at = skip_blanks(self.object, self.at + value_bytes) + 1;
    }
}

/// Writes an object's members one after the other.
struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> ObjectWriter<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Writes a member's name; the caller appends its value.
    fn key(&mut self, key: &[u8]) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        append_compact(key, self.out);
        self.out.push(b':');
    }

    fn member(&mut self, key: &[u8], value: &[u8]) {
        self.key(key);
        append_compact(value, self.out);
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::gzip::tests::gzip;

    /// A part as the client writes it.
    fn packed(json: &str) -> String {
        as_string(&gzip(json.as_bytes()))
    }

    fn as_string(bytes: &[u8]) -> String {
        let characters: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        serde_json::to_string(&characters).unwrap()
    }

    fn undone_within(event: &str, limits: &Limits, budget: usize) -> (CvOutcome, String) {
        let mut out = b"before".to_vec();
        let mut left = budget;
        let outcome = plain_event(event.as_bytes(), limits, &mut left, &mut out);
        assert!(left <= budget && out.starts_with(b"before"));
        (outcome, String::from_utf8(out.split_off(6)).unwrap())
    }

    fn undone(event: &str) -> (CvOutcome, String) {
        undone_within(event, &Limits::default(), 1 << 20)
    }

    fn assert_kept(event: &str, problem: CvProblem) {
        assert_eq!(undone(event), (CvOutcome::Kept(problem), event.to_owned()));
    }

    fn mutation(texts: &str) -> String {
        format!(r#"{{"type":3,"data":{{"source":0,"texts":{texts}}},"timestamp":5,"cv":"2024-10"}}"#)
    }

    #[test]
    fn a_full_snapshot_gets_its_data_back() {
        let data = r#"{"node":{"id":1,"x":"\ud83d"},"n":1.50}"#;
        let event = format!(r#"{{"timestamp":5.25,"cv":"2024-10","data":{},"type":2,"z":"\u0000"}}"#, packed(data));
        let expected = format!(r#"{{"timestamp":5.25,"data":{data},"type":2,"z":"\u0000"}}"#);
        assert_eq!(undone(&event), (CvOutcome::Undone, expected));
    }

    #[test]
    fn a_mutation_keeps_the_order_of_its_parts() {
        let event = format!(
            r#"{{"type":3,"data":{{"source":0,"texts":{},"attributes":{},"isAttachIframe":true,"removes":"","adds":[7]}},"timestamp":5,"cv":"2024-10"}}"#,
            packed("[]"),
            packed(r#"[{"id":1}]"#)
        );
        let expected = r#"{"type":3,"data":{"source":0,"texts":[],"attributes":[{"id":1}],"isAttachIframe":true,"adds":[7]},"timestamp":5}"#;
        assert_eq!(undone(&event), (CvOutcome::Undone, expected.to_owned()));
    }

    #[test]
    fn a_style_sheet_rule_has_two_parts() {
        let event = format!(
            r#"{{"type":3,"data":{{"source":8,"texts":"t","adds":{}}},"timestamp":5,"cv":"2024-10"}}"#,
            packed(r#"[{"rule":"a"}]"#)
        );
        let expected = r#"{"type":3,"data":{"source":8,"texts":"t","adds":[{"rule":"a"}]},"timestamp":5}"#;
        assert_eq!(undone(&event), (CvOutcome::Undone, expected.to_owned()));
    }

    #[test]
    fn events_without_cv_are_copied() {
        for event in [r#"{"type":2,"data":{ "a":1 },"timestamp":5}"#, "null", "[]", r#"{"cv":"2024-10"}"#] {
            assert_eq!(undone(event), (CvOutcome::Plain, event.to_owned()));
        }
    }

    #[test]
    fn what_cannot_be_undone_is_kept_as_sent() {
        let good = packed("[1]");
        assert_kept(&mutation(&good).replace("2024-10", "2031-01"), CvProblem::UnknownVersion);
        assert_kept(&mutation(&good).replace("\"source\":0", "\"source\":2"), CvProblem::UnknownEvent);
        assert_kept(&mutation("\"no gzip\""), CvProblem::Corrupt);
        assert_kept(&mutation("\"€\""), CvProblem::Corrupt);
        assert_kept(&mutation(&as_string(&gzip(b"[1]")[..21])), CvProblem::Corrupt);
        for json in ["", "[1", "[1] 2", "[1],\"cv\":1"] {
            assert_kept(&mutation(&packed(json)), CvProblem::NotJson);
        }
    }

    #[test]
    fn parts_are_bounded_one_by_one_and_together() {
        let event = mutation(&packed("[1,2,3]"));
        let limits = |field_bytes_max| Limits { field_bytes_max, ..Limits::default() };
        assert_eq!(undone_within(&event, &limits(7), 7).0, CvOutcome::Undone);
        assert_eq!(undone_within(&event, &limits(6), 7).0, CvOutcome::Kept(CvProblem::TooLarge));
        assert_eq!(undone_within(&event, &limits(7), 6).0, CvOutcome::Kept(CvProblem::TooLarge));
        let bomb = mutation(&packed(&format!("[{}]", " ".repeat(8 << 20))));
        let (outcome, out) = undone_within(&bomb, &Limits::default(), usize::MAX);
        assert_eq!((outcome, out), (CvOutcome::Kept(CvProblem::TooLarge), bomb));
    }

    #[test]
    fn inflating_in_vain_counts_too() {
        let bomb = mutation(&packed(&format!("[{}]", " ".repeat(8 << 20))));
        let (mut budget, mut out) = (2 << 20, Vec::new());
        for _ in 0..2 {
            plain_event(bomb.as_bytes(), &Limits::default(), &mut budget, &mut out);
        }
        assert_eq!(budget, 0);
    }

    #[test]
    fn what_comes_out_is_one_line() {
        let event = mutation(&packed("[ 1,\n\"a\nb\" ]\n"));
        let (outcome, out) = undone(&event.replace("\"timestamp\"", "\n\"timestamp\""));
        assert_eq!(outcome, CvOutcome::Undone);
        assert_eq!(out, r#"{"type":3,"data":{"source":0,"texts":[1,"a\nb"]},"timestamp":5}"#);
    }

    #[test]
    fn the_known_empty_array_is_what_gzip_makes_of_it() {
        let mut packed = gzip(b"[]");
        assert!(is_empty_array(&packed));
        packed[4..8].copy_from_slice(&[1, 2, 3, 4]);
        assert!(is_empty_array(&packed) && !is_empty_array(&gzip(b"{}")));
    }
}
