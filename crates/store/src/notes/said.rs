//! What people said of a recording, on its way out in a file and back in: comments and tags.
//!
//! It stands in the index of a `.reel` file, beside the person, and in no block: blocks are what was recorded, and go
//! wherever the recording goes. A pin, and that somebody has seen it, are of the store alone.
//!
//! It is read when somebody imports the file, and never again: a rebuild enters the notes, and a comment that was deleted
//! stays so although the file may still be an object of the store. The compactor leaves it out.

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::reel::RecordingEntry;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Comment, Notes, sort_comments};
use crate::store::{Store, StoreError};

/// Comments of one recording.
pub const COMMENTS_MAX: usize = 500;

/// Longest comment, in characters.
pub const COMMENT_CHARACTERS_MAX: usize = 4_000;

/// Longest name of an author, in characters.
pub const AUTHOR_CHARACTERS_MAX: usize = 100;

/// Different tags of one recording and the comments on it.
pub const TAGS_MAX: usize = 50;

/// Longest tag, in characters.
pub const TAG_CHARACTERS_MAX: usize = 50;

/// Longest name of a comment that comes from elsewhere, in characters.
const COMMENT_ID_CHARACTERS_MAX: usize = 64;

/// The furthest moment that a browser has a date for, in ms from 1970 either way. One beyond it would keep a page that
/// lists the comment from being drawn.
const MOMENT_MS_MAX: u64 = 8_640_000_000_000_000;

/// Metadata of a recording in a `.reel` file: what people said of it.
const NOTES: &str = "notes";

/// What people said of a recording, as files carry it. All of it is what could have been said here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    comments: Vec<Comment>,
    tags: Vec<String>,
    /// What the file lists beside these, and what could not have been said here.
    other_count: u64,
}

/// What was taken in of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Comments and tags that were not there, and are now.
    pub new_count: u64,
    /// Those for which there was no room, and what could not have been said here.
    pub left_out_count: u64,
}

impl Said {
    /// What was said of a recording of which a file tells. What could not have been said here is counted and no more:
    /// the recording is as whole without it.
    pub fn of_entry(entry: &RecordingEntry) -> Self {
        let notes = entry.metadata.get(NOTES);
        let list = |name: &str| notes.and_then(|notes| notes.get(name)?.as_array()).map_or(&[][..], Vec::as_slice);
        let comments = list("comments").iter().filter_map(|comment| Comment::deserialize(comment).ok());
        let tags = list("tags").iter().filter_map(|tag| tag.as_str().map(str::to_owned));
        let comments: Vec<Comment> = comments.filter(is_comment).collect();
        let tags: Vec<String> = tags.filter(|tag| is_tag(tag)).collect();
        let listed_count = list("comments").len() + list("tags").len();
        let other_count = (listed_count - comments.len() - tags.len()) as u64;
        Self { comments, tags, other_count }
    }

    fn is_empty(&self) -> bool {
        self.comments.is_empty() && self.tags.is_empty()
    }

    /// What the file says of it: a key of the recording's metadata. `None` where there is nothing to say.
    pub(crate) fn metadata(&self) -> Option<(String, Value)> {
        let Self { comments, tags, .. } = self;
        (!self.is_empty()).then(|| (NOTES.to_owned(), json!({ "comments": comments, "tags": tags })))
    }
}

impl From<Notes> for Said {
    fn from(notes: Notes) -> Self {
        Self { comments: notes.comments, tags: notes.tags, other_count: 0 }
    }
}

impl Notes {
    /// Adds what is not there yet. A comment that is there stays as it is.
    fn take_in(&mut self, said: Said) -> Taken {
        let mut taken = Taken { new_count: 0, left_out_count: said.other_count };
        let mut known: HashSet<String> = self.comments.iter().map(|comment| comment.id.clone()).collect();
        let mut all_tags: BTreeSet<String> = self.all_tags().into_iter().map(str::to_owned).collect();
        let mut fits =
            |tag: &String| all_tags.contains(tag) || (all_tags.len() < TAGS_MAX && all_tags.insert(tag.clone()));
        for tag in said.tags {
            if !self.tags.contains(&tag) && taken.has_room(fits(&tag)) {
                self.tags.push(tag);
            }
        }
        for mut comment in said.comments {
            if !known.insert(comment.id.clone()) {
                continue;
            }
            let has_room = self.comments.len() < COMMENTS_MAX;
            if has_room {
                comment.tags.sort();
                comment.tags.dedup();
                let tag_count = comment.tags.len();
                comment.tags.retain(&mut fits);
                taken.left_out_count += (tag_count - comment.tags.len()) as u64;
            }
            if taken.has_room(has_room && comment.says_something()) {
                self.comments.push(comment);
            }
        }
        sort_comments(&mut self.comments);
        self.tags.sort();
        taken
    }
}

impl Comment {
    /// Whether it has a text, or tags that say it all.
    pub fn says_something(&self) -> bool {
        !self.text.is_empty() || !self.tags.is_empty()
    }
}

impl Taken {
    fn has_room(&mut self, has_room: bool) -> bool {
        *(if has_room { &mut self.new_count } else { &mut self.left_out_count }) += 1;
        has_room
    }
}

impl Store {
    /// Adds what was said of a recording elsewhere, once however often it comes, unless the recording was deleted. When
    /// this returns it is on stable storage.
    pub async fn take_said(&self, project: &ProjectKey, id: &RecordingId, said: Said) -> Result<Taken, StoreError> {
        if self.is_deleted(project, id) {
            return Ok(Taken::default());
        }
        if said.is_empty() {
            return Ok(Taken { new_count: 0, left_out_count: said.other_count });
        }
        let mut taken = Taken::default();
        let take = |notes: &mut Notes| {
            taken = notes.take_in(said);
            Ok::<_, Infallible>(())
        };
        match self.change_notes(project, id, take).await {
            Ok(Ok(())) => Ok(taken),
            // The recording is none the worse for it.
            Err(StoreError::NotesFull { .. }) => {
                Ok(Taken { new_count: 0, left_out_count: taken.new_count + taken.left_out_count })
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether this may be the text of a comment; it may be empty where the comment has tags.
pub fn is_comment_text(text: &str) -> bool {
    let is_short = text.chars().count() <= COMMENT_CHARACTERS_MAX;
    is_trimmed(text) && is_short && !text.contains(|sign: char| sign.is_control() && sign != '\n')
}

/// Whether this may be the name of an author; it may be empty.
pub fn is_author(author: &str) -> bool {
    author.chars().count() <= AUTHOR_CHARACTERS_MAX && is_trimmed(author) && !author.contains(char::is_control)
}

/// Whether this may be a tag.
pub fn is_tag(tag: &str) -> bool {
    let is_short = tag.chars().count() <= TAG_CHARACTERS_MAX;
    !tag.is_empty() && is_trimmed(tag) && is_short && !tag.contains(|sign: char| sign.is_control() || sign == ',')
}

fn is_trimmed(text: &str) -> bool {
    text.trim().len() == text.len()
}

fn is_comment(comment: &Comment) -> bool {
    let is_sign = |sign: char| sign.is_ascii_alphanumeric() || sign == '-' || sign == '_';
    let Comment { id, at_ms, text, tags, author, written_at_ms, edited_at_ms } = comment;
    let is_named = (1..=COMMENT_ID_CHARACTERS_MAX).contains(&id.len()) && id.chars().all(is_sign);
    let moments = [*at_ms, Some(*written_at_ms), *edited_at_ms];
    let has_dates = moments.iter().flatten().all(|moment_ms| moment_ms.unsigned_abs() <= MOMENT_MS_MAX);
    let has_tags = tags.iter().all(|tag| is_tag(tag));
    is_named && has_dates && comment.says_something() && is_comment_text(text) && has_tags && is_author(author)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comment(id: &str) -> Comment {
        let (text, author) = ("the cart jumps".to_owned(), "Ada".to_owned());
        let id = id.to_owned();
        Comment { id, at_ms: Some(7), text, tags: vec![], author, written_at_ms: 8, edited_at_ms: None }
    }

    fn said(comments: impl IntoIterator<Item = Comment>, tags: impl IntoIterator<Item = String>) -> Said {
        Said { comments: comments.into_iter().collect(), tags: tags.into_iter().collect(), other_count: 0 }
    }

    #[test]
    fn what_was_said_is_added_once_and_what_is_there_stays() {
        let mut notes = Notes::default();
        let two = said([comment("b"), comment("a"), comment("a")], ["cart".to_owned()]);
        assert_eq!(notes.take_in(two.clone()), Taken { new_count: 3, left_out_count: 0 });
        notes.comments[0].text = "edited here".to_owned();
        let before = notes.clone();
        assert_eq!((notes.take_in(two), &notes), (Taken::default(), &before));
        assert_eq!(notes.comments.iter().map(|comment| comment.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_and_counted() {
        let mut notes = Notes::default();
        let all = said((0..=COMMENTS_MAX).map(|n| comment(&format!("c{n}"))), (0..=TAGS_MAX).map(|n| format!("t{n}")));
        assert_eq!(notes.take_in(all), Taken { new_count: (COMMENTS_MAX + TAGS_MAX) as u64, left_out_count: 2 });
    }

    #[test]
    fn tags_of_comments_take_the_room_of_tags() {
        let tagged = |id: &str, text: &str, tags: &[String]| Comment {
            text: text.to_owned(),
            tags: tags.to_vec(),
            ..comment(id)
        };
        let names: Vec<String> = (10..=10 + TAGS_MAX).map(|n| format!("t{n}")).collect();
        let (last, known) = (&names[TAGS_MAX..], &names[..2]);
        let mut notes = Notes::default();
        let all = [tagged("a", "", &names[1..TAGS_MAX]), tagged("b", "x", last), tagged("c", "", last)];
        let twice = tagged("d", "", &[known, known].concat());
        let taken = notes.take_in(said(all.into_iter().chain([twice]), known[..1].to_vec()));
        assert_eq!(taken, Taken { new_count: 4, left_out_count: 3 }, "two tags, and the comment that said no more");
        let kept: Vec<_> = notes.comments.iter().map(|of| (of.id.as_str(), of.tags.len())).collect();
        assert_eq!(kept, [("a", TAGS_MAX - 1), ("b", 0), ("d", 2)]);
        assert_eq!(notes.all_tags().len(), TAGS_MAX);
    }

    #[test]
    fn what_could_not_have_been_said_here_is_counted_and_no_more() {
        let entry = |notes: Value| {
            let entry = json!({ "id": "one", "project": "phc_test", "metadata": { "notes": notes } });
            serde_json::from_value::<RecordingEntry>(entry).unwrap()
        };
        let good = json!({ "id": "a", "text": "x", "written_at_ms": 1 });
        let mut bad: Vec<Value> = [
            ("id", json!("../a")),
            ("id", json!("")),
            ("id", json!("a".repeat(65))),
            ("text", json!("")),
            ("text", json!(" x")),
            ("text", json!("bell \u{7}")),
            ("text", json!("x".repeat(COMMENT_CHARACTERS_MAX + 1))),
            ("tags", json!(["fine", "a,b"])),
            ("tags", json!("fine")),
            ("author", json!("two\nlines")),
            ("author", json!("y".repeat(AUTHOR_CHARACTERS_MAX + 1))),
            ("written_at_ms", json!("now")),
            ("written_at_ms", json!(MOMENT_MS_MAX + 1)),
            ("at_ms", json!(i64::MIN)),
            ("edited_at_ms", json!(i64::MAX)),
        ]
        .map(|(name, value)| {
            let mut bad = good.clone();
            bad[name] = value;
            bad
        })
        .into();
        bad.push(json!(7));
        let tags = ["".to_owned(), " a".to_owned(), "a,b".to_owned(), "z".repeat(TAG_CHARACTERS_MAX + 1)];
        let other_count = (bad.len() + tags.len()) as u64;
        bad.push(good);
        let tags = tags.into_iter().chain(["one".to_owned()]).collect::<Vec<_>>();
        let read = Said::of_entry(&entry(json!({ "comments": bad, "tags": tags, "is_new": true })));
        assert_eq!((read.comments.len(), &read.tags, read.other_count), (1, &vec!["one".to_owned()], other_count));
        assert_eq!(Notes::default().take_in(read), Taken { new_count: 2, left_out_count: other_count });
        for none in [json!(null), json!([]), json!({ "comments": {}, "tags": "x" })] {
            assert_eq!(Said::of_entry(&entry(none)), Said::default());
        }
    }
}
