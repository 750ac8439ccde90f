//! Bodies that are HTML forms: `data=<base64 of JSON>&compression=base64`, as the oldest clients and beacons send them.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode;

/// Takes padding or none, and senders that leave rubbish in the last character's unused bits.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The fields of a form that matter.
pub(super) struct Form {
    /// The payload: text of JSON, or of base64.
    pub(super) data: Vec<u8>,
    /// The coding of `data`, if the form says.
    pub(super) compression: Option<String>,
}

/// Whether to look for a form: by the content type, or by how the body begins, because proxies drop content types.
pub(super) fn is_form(body: &[u8], content_type: Option<&str>) -> bool {
    const FORM_TYPE: &str = "application/x-www-form-urlencoded";
    let declared = content_type.and_then(|text| text.trim_start().get(..FORM_TYPE.len()));
    body.starts_with(b"data=") || declared.is_some_and(|text| text.eq_ignore_ascii_case(FORM_TYPE))
}

/// Reads a form. `None` when it has no `data`, which means that it is something else after all.
pub(super) fn read_form(body: &[u8]) -> Option<Form> {
    let mut form = None;
    let mut compression = None;
    for pair in body.split(|byte| *byte == b'&') {
        if let Some(value) = pair.strip_prefix(b"data=") {
            form.get_or_insert_with(|| decode_value(value));
        } else if let Some(value) = pair.strip_prefix(b"compression=") {
            compression = Some(String::from_utf8_lossy(&decode_value(value)).into_owned());
        }
    }
    form.map(|data| Form { data, compression })
}

/// Decodes base64 of either alphabet, with blanks for `+`, line breaks and any padding. `None` for anything else.
pub(super) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let standard: Vec<u8> = text.trim_ascii().iter().filter_map(|byte| standard_character(*byte)).collect();
    LENIENT.decode(standard).ok()
}

fn standard_character(byte: u8) -> Option<u8> {
    match byte {
        b'-' | b' ' => Some(b'+'),
        b'_' => Some(b'/'),
        b'\r' | b'\n' => None,
        _ => Some(byte),
    }
}

fn decode_value(value: &[u8]) -> Vec<u8> {
    let blanks: Cow<'_, [u8]> = if value.contains(&b'+') {
        value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<u8>>().into()
    } else {
        value.into()
    };
    percent_decode(&blanks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_known_by_type_or_by_their_beginning() {
        assert!(is_form(b"data=abc", None));
        assert!(is_form(b"x=1", Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8")));
        assert!(!is_form(b"[]", Some("text/plain")) && !is_form(b"[]", None) && !is_form(b"[]", Some("€")));
    }

    #[test]
    fn fields_are_found_in_any_order() {
        let form = read_form(b"ver=1&compression=lz%36%34&data=a%2Bb+c%3D").unwrap();
        assert_eq!((&form.data[..], form.compression.as_deref()), (&b"a+b c="[..], Some("lz64")));
        assert!(read_form(b"compression=base64").is_none());
    }

    #[test]
    fn base64_comes_in_many_spellings() {
        for spelling in ["+/+/AA==", "-_-_AA==", "+/+/AA", "+/ /AA", "+/+/\r\nAA==\n", "+/+/AB"] {
            assert_eq!(decode_base64(spelling.as_bytes()).unwrap(), [0xfb, 0xff, 0xbf, 0], "{spelling}");
        }
        assert_eq!((decode_base64(b"hello!"), decode_base64(b"A")), (None, None));
    }
}
