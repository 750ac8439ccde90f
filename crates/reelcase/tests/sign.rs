//! Signed files as a shell user meets them: who made this, and is it as it was?

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Server, files_below, reelcase, text};
use serde_json::{Value, json};

/// Runs the binary: its exit code, and all that it said.
fn run(arguments: &[&str]) -> (i32, String) {
    let done = reelcase().args(arguments).env_remove("REELCASE_KEY").output().unwrap();
    (done.status.code().unwrap(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

fn assert_says((code, said): (i32, String), expected_code: i32, expected: &[&str]) {
    assert_eq!(code, expected_code, "{said}");
    expected.iter().for_each(|expected| assert!(said.contains(expected), "{expected:?} is not in {said}"));
}

/// A directory with a recording in it, and keys.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        let events = r#"[{"type":4,"data":{"href":"http://site.test/","width":8,"height":6},"timestamp":1795226820022},
            {"type":2,"data":{"node":{"type":0,"id":1,"childNodes":[]},"initialOffset":{"top":0,"left":0}},"timestamp":1795226820023}]"#;
        fs::write(desk.path("events.json"), events).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        text(&self.path(name)).to_owned()
    }

    /// A `.reel` file of the recording `one`.
    fn reel(&self, name: &str) -> String {
        let file = self.at(name);
        assert_says(run(&["convert", &self.at("events.json"), &file, "--id", "one"]), 0, &[]);
        file
    }

    /// A key pair: the file of its private half, and the public one.
    fn key(&self, name: &str) -> (String, String) {
        let file = self.at(name);
        let made = reelcase().args(["sign", "--new-key", &file]).output().unwrap();
        assert!(made.status.success());
        (file, String::from_utf8(made.stdout).unwrap().trim().to_owned())
    }

    /// A signed file and the key that it was signed with.
    fn signed(&self, name: &str) -> (String, String) {
        let (reel, (key, public)) = (self.reel(name), self.key(&format!("{name}.key")));
        assert_says(run(&["sign", &reel, "--key", &key]), 0, &[&format!("{reel}: signed by {public}")]);
        (reel, public)
    }

    /// A store that holds the recording `one`.
    fn store(&self, name: &str) -> String {
        let data = self.at(name);
        Server::start(Path::new(&data)).stop();
        data
    }

    fn filled_store(&self, name: &str) -> String {
        let (data, reel) = (self.store(name), self.reel("filling.reel"));
        assert_says(run(&["import", &reel, "--data", &data]), 0, &["imported 1 recording "]);
        data
    }
}

fn flip(file: &str, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_receiver_learns_who_signed_a_file_and_that_nothing_was_changed() {
    let desk = Desk::new();
    let (reel, public) = desk.signed("one.reel");
    let signed_by = format!("signed by {public}");
    assert_says(run(&["verify", &reel]), 0, &["whole: 1 recording,", &signed_by]);
    assert_says(run(&["verify", &reel, "--signed-by", &public]), 0, &[&signed_by]);
    fs::write(desk.path("ours.pub"), format!("{public}\n")).unwrap();
    assert_says(run(&["verify", &reel, "--signed-by", &desk.at("ours.pub")]), 0, &[&signed_by]);
}

#[test]
fn what_was_not_signed_by_that_key_is_not_accepted_and_says_why() {
    let desk = Desk::new();
    let (signed, public) = desk.signed("one.reel");
    let (_, other) = desk.key("other.key");
    let by_other = format!("not accepted: it is not signed by that key, but by {public}");
    assert_says(run(&["verify", &signed, "--signed-by", &other]), 1, &["whole", &by_other]);
    let unsigned = desk.reel("two.reel");
    assert_says(run(&["verify", &unsigned, "--signed-by", &public]), 1, &["whole", "not accepted: it is not signed\n"]);
    // One that is refused among several is enough.
    assert_says(run(&["verify", &signed, &unsigned, "--signed-by", &public]), 1, &["not accepted"]);
    flip(&signed, 300);
    let changed = "not accepted: it is damaged, or was changed since it was signed";
    let does_not_fit = format!("the signature of {public} does not fit");
    assert_says(run(&["verify", &signed, "--signed-by", &public]), 1, &["damaged", &does_not_fit, changed]);
    assert_says(run(&["verify", &signed]), 1, &["damaged", &does_not_fit]);
}

#[test]
fn a_signature_that_was_moved_to_another_file_is_found() {
    let desk = Desk::new();
    let (signed, public) = desk.signed("one.reel");
    let with_more =
        fs::read_to_string(desk.path("events.json")).unwrap().replace("http://site.test/", "http://else.test/");
    fs::write(desk.path("events.json"), with_more).unwrap();
    let (forged, _) = desk.signed("forged.reel");
    let (from, to) = (fs::read(&signed).unwrap(), fs::read(&forged).unwrap());
    let at = |file: &[u8]| file.windows(4).position(|tag| tag == b"SIGN").unwrap() - 8;
    let forgery = [&to[..at(&to)], &from[at(&from)..][..160], &to[at(&to) + 160..]].concat();
    fs::write(&forged, forgery).unwrap();
    let does_not_fit = format!("the signature of {public} does not fit");
    assert_says(run(&["verify", &forged, "--signed-by", &public]), 1, &["damaged", &does_not_fit]);
}

#[test]
fn a_private_key_is_for_its_owner_alone_and_never_written_over() {
    let desk = Desk::new();
    let (key, public) = desk.key("mine.key");
    assert!(public.starts_with("ed25519:") && public.len() == 51, "{public}");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&key).unwrap();
    assert_says(run(&["sign", "--new-key", &key]), 1, &["mine.key exists"]);
    assert_eq!(fs::read(&key).unwrap(), before);
    // The public half can be had again.
    assert_says(run(&["sign", "--key", &key]), 0, &[&public]);
    assert_ne!(desk.key("other.key").1, public);
}

#[test]
fn keys_are_those_of_openssl() {
    let desk = Desk::new();
    let openssl =
        |arguments: &[&str]| Command::new("openssl").args(arguments).output().is_ok_and(|done| done.status.success());
    let (private, public) = (desk.at("theirs.pem"), desk.at("theirs.pub.pem"));
    // Where the tool is not installed, the library's tests have to do.
    if !openssl(&["genpkey", "-algorithm", "ed25519", "-out", &private]) {
        return;
    }
    assert!(openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]));
    let reel = desk.reel("one.reel");
    assert_says(run(&["sign", &reel, "--key", &private]), 0, &["signed by ed25519:"]);
    assert_says(run(&["verify", &reel, "--signed-by", &public]), 0, &["signed by ed25519:"]);
    assert!(openssl(&["pkey", "-in", &desk.key("ours.key").0, "-noout"]));
}

#[test]
fn what_is_no_key_is_told_from_one() {
    let desk = Desk::new();
    let (reel, (key, public)) = (desk.reel("one.reel"), desk.key("mine.key"));
    let sign_with = |key: &str| run(&["sign", &reel, "--key", key]);
    assert_says(sign_with(&desk.at("missing.key")), 1, &["cannot read", "missing.key"]);
    assert_says(sign_with(&reel), 1, &["is no key to sign with", "hint: `reelcase sign --new-key FILE`"]);
    fs::write(desk.path("public.key"), &public).unwrap();
    assert_says(sign_with(&desk.at("public.key")), 1, &["it is the public half of a key pair"]);
    let rsa = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n";
    fs::write(desk.path("rsa.key"), rsa).unwrap();
    assert_says(sign_with(&desk.at("rsa.key")), 1, &["not an Ed25519 key"]);
    let wanting = |key: &str| run(&["verify", &reel, "--signed-by", key]);
    assert_says(wanting("ed25519:short"), 2, &["43 characters of base64url"]);
    assert_says(wanting(&desk.at("missing.pub")), 2, &["there is no file of this name either"]);
    assert_says(wanting(&key), 2, &["it is the private half of a key pair"]);
    assert_says(run(&["sign", &reel]), 2, &["--key"]);
    assert_says(run(&["verify", &reel]), 0, &["whole"]);
}

#[test]
fn what_is_damaged_or_no_reel_is_not_signed_and_costs_no_other_file_its_signature() {
    let desk = Desk::new();
    let (damaged, whole, (key, public)) = (desk.reel("damaged.reel"), desk.reel("whole.reel"), desk.key("mine.key"));
    flip(&damaged, 300);
    let before = fs::read(&damaged).unwrap();
    let events = desk.at("events.json");
    let page = desk.at("page.html");
    assert_says(run(&["convert", &events, &page]), 0, &[]);
    let signed = run(&["sign", &damaged, &events, &page, &desk.at("missing.reel"), &whole, "--key", &key]);
    let not = |file: &str, why: &str| format!("not signed: {file}: {why}");
    assert_says(
        signed,
        1,
        &[
            &not(&damaged, "it is damaged at byte"),
            &not(&events, "only .reel files are signed"),
            &not(&page, "it is a page"),
            &not(&desk.at("missing.reel"), "cannot read"),
            &format!("{whole}: signed by {public}"),
        ],
    );
    assert_eq!(fs::read(&damaged).unwrap(), before);
    assert_says(run(&["verify", &whole, "--signed-by", &public]), 0, &[]);
}

#[test]
fn signing_again_changes_nothing_and_somebody_else_adds_a_signature() {
    let desk = Desk::new();
    let (reel, (mine, me), (yours, you)) = (desk.reel("one.reel"), desk.key("mine.key"), desk.key("yours.key"));
    fs::set_permissions(&reel, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&reel, desk.path("link.reel")).unwrap();
    assert_says(run(&["sign", &desk.at("link.reel"), "--key", &mine]), 0, &["signed by"]);
    assert!(desk.path("link.reel").is_symlink());
    assert_eq!(fs::metadata(&reel).unwrap().permissions().mode() & 0o777, 0o640);
    let once = fs::read(&reel).unwrap();
    assert_says(run(&["sign", &reel, "--key", &mine]), 0, &[&format!("{reel}: signed already by {me}")]);
    assert_eq!(fs::read(&reel).unwrap(), once);
    assert_says(run(&["sign", &reel, "--key", &yours]), 0, &[&format!("{reel}: signed by {you}")]);
    assert_says(run(&["verify", &reel]), 0, &[&format!("signed by {me}, {you}")]);
    assert_says(run(&["verify", &reel, "--signed-by", &me]), 0, &[]);
    assert_says(run(&["verify", &reel, "--signed-by", &you]), 0, &[]);
}

#[test]
fn a_signed_file_is_read_by_whatever_read_it_before() {
    let desk = Desk::new();
    let unsigned = desk.reel("unsigned.reel");
    let (signed, public) = desk.signed("one.reel");
    let lines = |file: &str| zstd::decode_all(fs::File::open(file).unwrap()).unwrap();
    assert_eq!(lines(&unsigned), lines(&signed));
    let converted = run(&["convert", &signed, &desk.at("one.jsonl")]);
    assert_says(
        converted,
        0,
        &[&format!("is signed by {public}; what is written is another file, which is not signed")],
    );
    assert_eq!(fs::read(desk.path("one.jsonl")).unwrap(), lines(&signed));
    assert_says(run(&["convert", &signed, &desk.at("again.reel")]), 0, &["not signed"]);
    assert_says(run(&["verify", &desk.at("again.reel"), "--signed-by", &public]), 1, &["it is not signed"]);
    // A file that nobody signed has nothing to say of it.
    let (_, said) = run(&["convert", &unsigned, &desk.at("two.jsonl")]);
    assert!(!said.contains("signed"), "{said}");
}

#[test]
fn an_encrypted_file_is_signed_as_it_is_stored_and_verified_without_its_key() {
    let desk = Desk::new();
    let (data, site) = (desk.filled_store("data"), desk.at("site"));
    assert_says(run(&["share", "one", "--data", &data, "--to", &site]), 0, &[]);
    let is_encrypted = |path: &PathBuf| path.to_str().is_some_and(|name| name.ends_with(".enc"));
    let file = text(&files_below(Path::new(&site)).into_iter().find(is_encrypted).unwrap()).to_owned();
    let ((key, public), (other_key, other)) = (desk.key("mine.key"), desk.key("other.key"));
    let before = fs::read(&file).unwrap();
    assert_says(run(&["verify", &file]), 1, &["is encrypted"]);
    assert_says(run(&["verify", &file, "--signed-by", &public]), 1, &["not accepted: it is not signed"]);
    assert_says(run(&["sign", &file, "--key", &key]), 0, &[&format!("signed by {public}")]);
    assert_says(run(&["sign", &file, "--key", &key]), 0, &["signed already by"]);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(fs::read(format!("{file}.sig")).unwrap().len(), 160);
    assert_says(run(&["verify", &file, "--signed-by", &public]), 0, &["encrypted, and not looked into", &public]);
    assert_says(
        run(&["verify", &file, "--signed-by", &other]),
        1,
        &["not accepted: it is not signed by that key", &public],
    );
    assert_says(run(&["sign", &file, "--key", &other_key]), 0, &[&format!("signed by {other}")]);
    assert_says(run(&["verify", &file]), 0, &[&format!("signed by {public}, {other}")]);
    flip(&file, 60);
    assert_says(run(&["verify", &file, "--signed-by", &public]), 1, &["damaged", "does not fit"]);
    assert_says(run(&["verify", &file]), 1, &["damaged", "does not fit"]);
    assert_says(run(&["sign", &file, "--key", &desk.key("third.key").0]), 1, &["do not hold"]);
}

#[test]
fn an_export_is_signed_as_it_is_written() {
    let desk = Desk::new();
    let (data, (key, public)) = (desk.filled_store("data"), desk.key("mine.key"));
    let export = |more: &[&str]| run(&[&["export", "one", "--data", &data, "--sign", &key][..], more].concat());
    let reel = desk.at("one.reel");
    assert_says(export(&["--output", &reel]), 0, &[]);
    assert_says(run(&["verify", &reel, "--signed-by", &public]), 0, &["whole: 1 recording,"]);
    let piped = reelcase().args(["export", "one", "--data", &data, "--sign", &key]).output().unwrap();
    fs::write(desk.path("piped.reel"), piped.stdout).unwrap();
    assert_says(run(&["verify", &desk.at("piped.reel"), "--signed-by", &public]), 0, &["whole: 1 recording,"]);
    for other in ["one.jsonl", "one.html"] {
        assert_says(export(&["--output", &desk.at(other)]), 1, &["only .reel files can be signed"]);
        assert!(!desk.path(other).exists());
    }
    let missing =
        run(&["export", "one", "--data", &data, "--sign", &desk.at("none.key"), "--output", &desk.at("x.reel")]);
    assert_says(missing, 1, &["cannot read", "none.key"]);
    let server = Server::start(Path::new(&data));
    let remote = desk.at("remote.reel");
    let access = ["--server", &server.url, "--token", &server.token];
    assert_says(run(&[&["export", "one", "--sign", &key, "--output", &remote][..], &access].concat()), 0, &[]);
    assert_says(run(&["verify", &remote, "--signed-by", &public]), 0, &[]);
}

#[test]
fn a_bulk_export_signs_every_file_and_what_an_earlier_one_left_unsigned() {
    let desk = Desk::new();
    let (data, to, (key, public)) = (desk.filled_store("data"), desk.at("to"), desk.key("mine.key"));
    let export = |more: &[&str]| run(&[&["export", "--data", &data, "--to", &to][..], more].concat());
    assert_says(export(&[]), 0, &["exported 1 recording,"]);
    assert_says(export(&["--sign", &key]), 0, &["exported 1 recording,"]);
    assert_says(export(&["--sign", &key]), 0, &["exported 0 recordings", "1 unchanged"]);
    assert_says(export(&[]), 0, &["exported 0 recordings", "1 unchanged"]);
    let reel = files_below(Path::new(&to)).into_iter().find(|path| path.extension().is_some_and(|it| it == "reel"));
    assert_says(run(&["verify", text(&reel.unwrap()), "--signed-by", &public]), 0, &[]);
    let manifest: Value = serde_json::from_slice(&fs::read(Path::new(&to).join("manifest.jsonl")).unwrap()).unwrap();
    assert_eq!(manifest["signed_by"], public);
    assert!(
        Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS"]).current_dir(&to).status().unwrap().success()
    );
    assert_says(export(&["--sign", &key, "--format", "jsonl"]), 1, &["only .reel files can be signed"]);
    assert_says(export(&["--sign", &key, "--format", "parquet"]), 1, &["only .reel files can be signed"]);
}

#[test]
fn an_import_takes_signed_files_and_nothing_else_where_that_is_asked_for() {
    let desk = Desk::new();
    let (signed, public) = desk.signed("one.reel");
    let (inbox, data) = (desk.path("inbox"), desk.store("data"));
    fs::create_dir(&inbox).unwrap();
    fs::copy(&signed, inbox.join("signed.reel")).unwrap();
    fs::copy(desk.reel("unsigned.reel"), inbox.join("unsigned.reel")).unwrap();
    fs::copy(desk.path("events.json"), inbox.join("events.json")).unwrap();
    fs::copy(&signed, inbox.join("changed.reel")).unwrap();
    flip(text(&inbox.join("changed.reel")), 300);
    let import = |more: &[&str]| run(&[&["import", text(&inbox), "--data", &data][..], more].concat());
    assert_says(
        import(&["--signed-by", &public]),
        1,
        &[
            "imported 1 recording ",
            "unsigned.reel: it is not signed",
            "changed.reel: it is damaged, or was changed since it was signed",
            "events.json: it is no .reel file",
            "3 left alone",
        ],
    );
    // It is an object of the store now, byte for byte, and so it is signed there, too.
    let objects = files_below(&Path::new(&data).join("objects"));
    assert!(objects.iter().any(|object| fs::read(object).unwrap() == fs::read(&signed).unwrap()));
    let other = desk.store("other");
    assert_says(run(&["unpack", &signed, "--data", &other, "--signed-by", &public]), 0, &["imported 1 recording "]);
    let third = desk.store("third");
    let unsigned = text(&inbox.join("unsigned.reel")).to_owned();
    assert_says(run(&["unpack", &unsigned, "--data", &third, "--signed-by", &public]), 1, &["it is not signed"]);
    assert_says(run(&["import", &signed, "--data", &third]), 0, &["imported 1 recording "]);
}

#[test]
fn a_directory_of_signed_encrypted_files_is_imported_without_a_word_on_signatures() {
    let desk = Desk::new();
    let (data, site, to) = (desk.filled_store("data"), desk.at("site"), desk.store("to"));
    let said = run(&["share", "one", "--data", &data, "--to", &site]).1;
    let link = said.lines().find(|line| line.contains("&key=")).unwrap();
    let is_encrypted = |path: &PathBuf| path.to_str().is_some_and(|name| name.ends_with(".enc"));
    let file = text(&files_below(Path::new(&site)).into_iter().find(is_encrypted).unwrap()).to_owned();
    let (key, public) = desk.key("mine.key");
    let import = ["import", &site, "--data", &to, "--key", link, "--signed-by", &public];
    assert_says(run(&import), 1, &["it is encrypted, and there is no signature beside it", "1 left alone"]);
    assert_says(run(&["sign", &file, "--key", &key]), 0, &[]);
    // The page that plays them is no recording, with and without a signature.
    assert_says(run(&import), 0, &["imported 1 recording ", "of 2 files;", "1 holds none, 0 left alone"]);
}

#[test]
fn a_directory_of_signed_exports_is_imported_with_the_books_that_it_keeps() {
    let desk = Desk::new();
    let (data, to, (key, public)) = (desk.filled_store("data"), desk.at("to"), desk.key("mine.key"));
    assert_says(run(&["export", "--data", &data, "--to", &to, "--sign", &key]), 0, &["exported 1 recording,"]);
    fs::write(Path::new(&to).join("README"), "What the shop recorded.\n").unwrap();
    let into = desk.store("into");
    let import = ["import", &to, "--data", &into, "--signed-by", &public];
    assert_says(
        run(&[&import[..], &["--dry-run"]].concat()),
        0,
        &["would import 1 recording ", "README: no recording"],
    );
    assert_says(run(&import), 0, &["imported 1 recording ", "1 holds none, 0 left alone"]);
}

#[tokio::test]
async fn an_opened_file_says_who_signed_it_and_that_it_was_changed_since() {
    let desk = Desk::new();
    let (signed, public) = desk.signed("signed.reel");
    let (unsigned, changed) = (desk.reel("unsigned.reel"), desk.at("changed.reel"));
    let opened = async |files: &[&str]| {
        let files: Vec<&Path> = files.iter().map(Path::new).collect();
        let server = Server::open(&files);
        let shown = server.api("/api/recordings/one").await["signature"].clone();
        server.stop();
        shown
    };
    assert_eq!(opened(&[&signed]).await, json!({ "signed_by": [public] }));
    assert_eq!(opened(&[&unsigned]).await, Value::Null);
    // What is played is what both hold, and of that nobody signed all.
    assert_eq!(opened(&[&signed, &unsigned]).await, Value::Null);
    // The last frame before the index is the signature.
    let mut bytes = fs::read(&signed).unwrap();
    let at = bytes.windows(4).rposition(|tag| tag == b"SIGN").unwrap();
    bytes[at + 100] ^= 1;
    fs::write(&changed, bytes).unwrap();
    let flaw = opened(&[&changed]).await["flaw"].clone();
    assert!(flaw.as_str().unwrap().ends_with("its check does not match"), "{flaw}");
    assert_eq!(opened(&[&unsigned, &changed]).await["flaw"], flaw);
}

#[tokio::test]
async fn an_opened_file_of_noise_is_signed_by_what_lies_beside_it() {
    let desk = Desk::new();
    let (data, site, (key, public)) = (desk.filled_store("data"), desk.at("site"), desk.key("mine.key"));
    let said = run(&["share", "one", "--data", &data, "--to", &site]).1;
    let link = said.lines().find(|line| line.contains("&key=")).unwrap().trim();
    fs::remove_file(Path::new(&site).join("replay.html")).unwrap();
    let file = files_below(Path::new(&site)).remove(0);
    assert_says(run(&["sign", text(&file), "--key", &key]), 0, &[]);
    let server = Server::open_with(&[&file], &["--key", link]);
    assert_eq!(server.api("/api/recordings/one").await["signature"], json!({ "signed_by": [public] }));
    server.stop();
}

#[test]
fn a_packed_store_is_signed_like_any_file() {
    let desk = Desk::new();
    let (data, packed, (key, public)) = (desk.filled_store("data"), desk.at("all.reel"), desk.key("mine.key"));
    assert_says(run(&["pack", &packed, "--data", &data]), 0, &["packed 1 recording"]);
    assert_says(run(&["sign", &packed, "--key", &key]), 0, &["signed by"]);
    let to = desk.store("to");
    assert_says(run(&["unpack", &packed, "--data", &to, "--signed-by", &public]), 0, &["imported 1 recording "]);
}

#[test]
fn a_file_is_shown_with_who_signed_it() {
    let desk = Desk::new();
    let (reel, public) = desk.signed("one.reel");
    let shown = |file: &str| -> Value {
        serde_json::from_slice(&reelcase().args(["show", file]).output().unwrap().stdout).unwrap()
    };
    let signed = shown(&reel);
    assert_eq!((&signed["is_whole"], &signed["signed_by"]), (&Value::Bool(true), &serde_json::json!([public])));
    assert_eq!((&signed["recordings"][0]["id"], &signed["recordings"][0]["event_count"]), (&"one".into(), &2.into()));
    assert_eq!(shown(&desk.reel("two.reel"))["signed_by"], serde_json::json!([]));
    flip(&reel, 300);
    let changed = shown(&reel);
    assert_eq!((&changed["is_whole"], &changed["signed_by"]), (&Value::Bool(false), &serde_json::json!([])));
    assert_says(run(&["show", "one"]), 2, &["--data", "--server"]);
}
