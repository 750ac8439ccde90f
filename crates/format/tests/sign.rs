//! What `docs/format.md` section 10 promises of signed files, from the outside.

// The exemption for tests in clippy.toml does not reach helpers of an integration test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use proptest::prelude::*;
use reelcase_format::block::{BlockBuilder, BlockKind, EncodedBlock};
use reelcase_format::reel::{
    NotSigned, RecordingEntry, ReelError, ReelHeader, ReelLimits, ReelWriter, Report, SIGNATURE_FRAME_BYTES,
    SIGNATURES_MAX, SignError, Signed, bearing, recover, sign, sign_stored, stored_signers, verify,
};
use reelcase_format::sign::{PublicKey, SEED_BYTES, SigningKey, private_pem};
use reelcase_format::summary::{Counted, Summary};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Map;

const TAIL_BYTES: usize = 64;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_pem(&private_pem(&[seed; SEED_BYTES])).unwrap()
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

fn block(marker: i64) -> EncodedBlock {
    let mut block = BlockBuilder::new("phc_test".parse().unwrap(), Some("r".parse().unwrap()), BlockKind::Lines);
    let line = format!("[\"w\",{{\"type\":2,\"timestamp\":{marker}}}]\n");
    let (window, timestamp_ms) = ("w", marker);
    block
        .push(&Counted { window, kind: 2, timestamp_ms, source: None, interaction: None, event: b"" }, line.as_bytes());
    block.encode(3).unwrap()
}

/// A file of one recording, with a block for each marker.
fn file_of(markers: &[i64]) -> Vec<u8> {
    let header = ReelHeader { object: "o".to_owned(), creator: String::new(), other: Map::new() };
    let (mut writer, mut file) = ReelWriter::new(header).unwrap();
    let mut blocks = Vec::new();
    for marker in markers {
        let (ordinal, bytes) = writer.push_block(block(*marker)).unwrap();
        blocks.push(ordinal);
        file.extend_from_slice(&bytes);
    }
    writer.push_recording(RecordingEntry {
        id: "r".parse().unwrap(),
        project: "phc_test".parse().unwrap(),
        summary: Summary::default(),
        blocks,
        uploads: Vec::new(),
        metadata: Map::new(),
        replaces: Vec::new(),
        other: Map::new(),
    });
    file.extend_from_slice(&writer.finish().unwrap().bytes);
    file
}

fn check(file: &[u8]) -> Report {
    verify(file, &ReelLimits::default())
}

fn try_sign(file: &[u8], seed: u8) -> Result<Vec<u8>, SignError> {
    let Signed { offset, bytes } = sign(file, &key(seed), &ReelLimits::default())?;
    Ok([&file[..offset as usize], &bytes].concat())
}

fn signed(file: &[u8], seed: u8) -> Vec<u8> {
    try_sign(file, seed).unwrap()
}

fn index_offset(file: &[u8]) -> usize {
    let tail = &file[file.len() - TAIL_BYTES..];
    u64::from_le_bytes(tail[32..40].try_into().unwrap()) as usize
}

/// The only signature of a file.
fn signature_of(file: &[u8]) -> &[u8] {
    let ends = index_offset(file);
    &file[ends - SIGNATURE_FRAME_BYTES..ends]
}

/// The file with this between its blocks and its index, in front of which there is no signature yet.
fn with_before_index(file: &[u8], between: &[u8]) -> Vec<u8> {
    let starts = index_offset(file);
    let index = &file[starts..file.len() - TAIL_BYTES];
    let body = [
        &((starts + between.len()) as u64).to_le_bytes()[..],
        &(index.len() as u64).to_le_bytes(),
        &blake3::hash(index).as_bytes()[..16],
    ]
    .concat();
    [&file[..starts], between, index, &frame(b"TAIL", 0, &body)].concat()
}

/// A frame of section 1, with flags.
fn frame(tag: &[u8; 4], flags: u16, body: &[u8]) -> Vec<u8> {
    let head = [&tag[..], &[1, 0], &flags.to_le_bytes()].concat();
    let check = blake3::hash(&[&head[..], body].concat());
    [&[0x52, 0x2A, 0x4D, 0x18][..], &(body.len() as u32 + 24).to_le_bytes(), &head, &check.as_bytes()[..16], body]
        .concat()
}

#[test]
fn a_signed_file_says_by_whom_and_an_unsigned_one_that_it_is_not() {
    let file = file_of(&[1, 2]);
    assert_eq!(check(&file).is_signed_by(&public(1)), Err(NotSigned::Unsigned));
    let signed = signed(&file, 1);
    let report = check(&signed);
    assert_eq!((&report.damage[..], &report.signers[..]), (&[][..], &[public(1)][..]));
    assert_eq!(report.is_signed_by(&public(1)), Ok(()));
    assert_eq!(report.is_signed_by(&public(2)), Err(NotSigned::OtherKey { found: vec![public(1)] }));
    assert_eq!(bearing(&signed[..], &ReelLimits::default()), Ok(vec![public(1)]));
}

#[test]
fn a_signature_changes_nothing_of_what_is_read() {
    let (file, signed) = (file_of(&[1, 2]), signed(&file_of(&[1, 2]), 1));
    let recovered = |file: &[u8]| recover(file, &ReelLimits::default());
    assert_eq!(recovered(&file), recovered(&signed));
    assert_eq!(zstd::decode_all(&file[..]).unwrap(), zstd::decode_all(&signed[..]).unwrap());
    assert_eq!(signed.len(), file.len() + SIGNATURE_FRAME_BYTES);
}

#[test]
fn a_stranger_verifies_with_any_library() {
    let file = signed(&file_of(&[1, 2]), 1);
    let (ends, signature) = (index_offset(&file), signature_of(&file));
    assert_eq!((&signature[..4], &signature[8..12]), (&[0x52, 0x2A, 0x4D, 0x18][..], &b"SIGN"[..]));
    let (signer, content_hash, signature) = (&signature[32..64], &signature[64..96], &signature[96..160]);
    let content = &file[..ends - SIGNATURE_FRAME_BYTES];
    let index = &file[ends..file.len() - TAIL_BYTES];
    assert_eq!(content_hash, blake3::hash(content).as_bytes());
    let message = [b"reelcase signed reel 1", content_hash, &blake3::hash(index).as_bytes()[..]].concat();
    assert_eq!(message.len(), 86);
    assert_eq!(UnparsedPublicKey::new(&ED25519, signer).verify(&message, signature), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_is_signed_holds_and_no_cut_does(markers in prop::collection::vec(0i64..1_000, 0..4), seed in 1u8..4) {
        let file = signed(&file_of(&markers), seed);
        prop_assert_eq!(check(&file).is_signed_by(&public(seed)), Ok(()));
        for length in 0..file.len() {
            prop_assert_eq!(check(&file[..length]).is_signed_by(&public(seed)), Err(NotSigned::Damaged), "{}", length);
        }
    }

    #[test]
    fn blocks_that_were_swapped_left_out_added_or_exchanged_are_found(
        markers in prop::collection::vec(0i64..1_000, 1..5),
        others in prop::collection::vec(0i64..1_000, 0..5),
    ) {
        prop_assume!(markers != others);
        let signature = signature_of(&signed(&file_of(&markers), 1)).to_vec();
        // A file that is whole in all else, behind the signature of the first.
        let forged = with_before_index(&file_of(&others), &signature);
        let report = check(&forged);
        prop_assert_eq!(report.is_signed_by(&public(1)), Err(NotSigned::Damaged));
        prop_assert_eq!(&report.signers, &[]);
        prop_assert_eq!(&report.damage[0].what, &ReelError::Signature { signer: public(1) });
    }

    #[test]
    fn bytes_in_the_place_of_a_signature_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = with_before_index(&file_of(&[1]), &frame(b"SIGN", 0, &bytes));
        prop_assert!(!check(&file).damage.is_empty());
        prop_assert!(stored_signers(&b"file"[..], &frame(b"SIGN", 0, &bytes)).is_err());
        prop_assert!(bytes.is_empty() || stored_signers(&b"file"[..], &bytes).is_err());
    }
}

#[test]
fn no_bit_of_a_signed_file_can_be_flipped() {
    let file = signed(&file_of(&[1]), 1);
    let signature_starts = index_offset(&file) - SIGNATURE_FRAME_BYTES;
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << bit;
            let why = check(&flipped).is_signed_by(&public(1)).unwrap_err();
            // With another magic number or tag it is a frame that readers pass over, as if there were no signature.
            let is_named = (signature_starts..signature_starts + 12).contains(&at);
            assert!(why == NotSigned::Damaged || is_named && why == NotSigned::Unsigned, "byte {at} bit {bit}: {why}");
        }
    }
}

#[test]
fn what_a_check_of_its_own_would_let_pass_is_signed_too() {
    let file = file_of(&[1]);
    let signed = signed(&file, 1);
    let signature = signature_of(&signed);
    // A frame that readers pass over, before the first block or before the signature.
    let foreign = [&[0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0][..], b"hi"].concat();
    let added = with_before_index(&file, &[&foreign, signature].concat());
    assert!(
        matches!(check(&added).damage[..], [ref damage] if damage.what == ReelError::Signature { signer: public(1) })
    );
    let between = with_before_index(&file, &[signature, &foreign].concat());
    assert!(matches!(&check(&between).damage[..], [damage] if matches!(damage.what, ReelError::Inconsistent(_))));
    // Flags, which readers ignore, with a check that fits.
    let flagged = with_before_index(&file, &frame(b"SIGN", 1, &signature[32..]));
    assert_eq!(check(&flagged).is_signed_by(&public(1)), Err(NotSigned::Damaged));
    let tail = signed.len() - TAIL_BYTES;
    let flagged = [&signed[..tail], &frame(b"TAIL", 1, &signed[tail + 32..])].concat();
    assert_eq!(check(&flagged).is_signed_by(&public(1)), Err(NotSigned::Damaged));
    assert_eq!(check(&[&signed[..], &foreign].concat()).is_signed_by(&public(1)), Err(NotSigned::Damaged));
}

#[test]
fn a_frame_of_others_is_signed_with_the_rest() {
    let foreign = [&[0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0][..], b"hi"].concat();
    let file = signed(&with_before_index(&file_of(&[1]), &foreign), 1);
    assert_eq!(check(&file).is_signed_by(&public(1)), Ok(()));
    let at = file.windows(2).position(|two| two == b"hi").unwrap();
    let mut changed = file.clone();
    changed[at] = b'H';
    assert_eq!(check(&changed).is_signed_by(&public(1)), Err(NotSigned::Damaged));
}

#[test]
fn several_sign_one_file_in_any_order_and_each_stands_alone() {
    let file = file_of(&[1, 2]);
    let both = signed(&signed(&file, 1), 2);
    assert_eq!(check(&both).signers, [public(1), public(2)]);
    assert_eq!(try_sign(&both, 1), Err(SignError::Already));
    // Whoever takes one away leaves the other as it was.
    let second = signature_of(&both).to_vec();
    assert_eq!(with_before_index(&file, &second), signed(&file, 2));
    // A signature that does not hold spoils the file, whoever else signed it.
    let strange = signature_of(&signed(&file_of(&[3]), 3)).to_vec();
    let spoilt = check(&with_before_index(&file, &[&second[..], &strange].concat()));
    assert_eq!(spoilt.is_signed_by(&public(2)), Err(NotSigned::Damaged));
    assert_eq!(spoilt.signers, [public(2)]);
}

#[test]
fn signatures_of_a_file_have_a_limit() {
    let mut file = file_of(&[]);
    for seed in 1..=SIGNATURES_MAX {
        file = signed(&file, seed as u8);
    }
    assert_eq!(check(&file).signers.len(), SIGNATURES_MAX);
    assert_eq!(try_sign(&file, 99), Err(SignError::TooMany));
    let more = with_before_index(&file, signature_of(&signed(&file_of(&[]), 99)));
    let damage = check(&more).damage;
    assert!(matches!(&damage[0].what, ReelError::Inconsistent(what) if what.contains("more than 16")), "{damage:?}");
}

#[test]
fn damaged_files_are_not_signed() {
    let mut file = file_of(&[1, 2]);
    assert!(matches!(try_sign(&file[..file.len() - 1], 1), Err(SignError::Damaged(_))));
    file[200] ^= 1;
    assert!(matches!(try_sign(&file, 1), Err(SignError::Damaged(_))));
    assert!(matches!(try_sign(b"", 1), Err(SignError::Damaged(_))));
}

#[test]
fn a_newer_signature_is_told_from_damage() {
    let mut newer = frame(b"SIGN", 0, &[7; 500]);
    newer[12] = 2;
    let check_of = blake3::hash(&[&newer[8..16], &newer[32..]].concat());
    newer[16..32].copy_from_slice(&check_of.as_bytes()[..16]);
    let damage = check(&with_before_index(&file_of(&[1]), &newer)).damage;
    assert!(damage.iter().any(|damage| damage.what == ReelError::TooNew { found: 2 }), "{damage:?}");
}

#[test]
fn a_file_that_cannot_be_looked_into_is_signed_as_it_is_stored() {
    let (file, signature) = (&b"whatever is stored"[..], sign_stored(&b"whatever is stored"[..], &key(1)).unwrap());
    assert_eq!(stored_signers(file, &signature), Ok(vec![public(1)]));
    let both = [&signature[..], &sign_stored(file, &key(2)).unwrap()].concat();
    assert_eq!(stored_signers(file, &both), Ok(vec![public(1), public(2)]));
    assert_eq!(stored_signers(file, b""), Ok(vec![]));
    assert_eq!(stored_signers(&file[1..], &signature), Err(ReelError::Signature { signer: public(1) }));
    assert!(stored_signers(file, &signature[1..]).is_err());
    assert!(stored_signers(file, &both[..both.len() - 1]).is_err());
    let many = signature.repeat(SIGNATURES_MAX + 1);
    assert!(matches!(stored_signers(file, &many), Err(ReelError::TooLarge { part: "signatures", .. })));
    // A signature of a reel is none of the same bytes as a file.
    let reel = file_of(&[1]);
    assert!(stored_signers(&reel[..], signature_of(&signed(&reel, 1))).is_err());
}

#[test]
fn the_signed_sample_of_an_encrypted_file_holds() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/reel");
    let file = std::fs::read(dir.join("v1-smallest.reel.enc")).unwrap();
    let signatures = std::fs::read(dir.join("v1-smallest.reel.enc.sig")).unwrap();
    assert_eq!(stored_signers(&file[..], &signatures), Ok(vec![public(2)]));
    assert_eq!(sign_stored(&file[..], &key(2)), Ok(signatures));
}
