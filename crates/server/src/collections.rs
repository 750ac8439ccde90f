//! Collections of recordings, and filters of the list that somebody gave a name.
//!
//! Each kind is one document beside the objects, so both survive the catalog as notes do.

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_store::document::Content;
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// Collections that may exist at once.
pub(crate) const COLLECTIONS_MAX: usize = 200;

/// Recordings in one collection, which a page lists at once.
pub(crate) const MEMBERS_MAX: usize = 500;

/// Recordings in all collections together, which are one file.
pub(crate) const ALL_MEMBERS_MAX: usize = 10_000;

/// Filters that may be kept at once.
pub(crate) const FILTERS_MAX: usize = 200;

/// All collections, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Collections {
    pub(crate) collections: Vec<Collection>,
}

/// Recordings in an order that somebody chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Collection {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_at_ms: i64,
    pub(crate) members: Vec<Member>,
}

/// A recording of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) project: ProjectKey,
    pub(crate) recording: RecordingId,
}

/// All saved filters, in the order in which they were first saved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Filters {
    pub(crate) filters: Vec<Filter>,
}

/// A query of the list that somebody gave a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Filter {
    pub(crate) id: String,
    pub(crate) name: String,
    /// That of the list's address in the web app.
    pub(crate) query: String,
    pub(crate) saved_at_ms: i64,
}

impl Content for Collections {
    const NAME: &'static str = "collections";
    const VERSION: u32 = 1;

    fn join(&mut self, other: Self) {
        let known: Vec<_> = self.collections.iter().map(|known| known.id.clone()).collect();
        self.collections.extend(other.collections.into_iter().filter(|other| !known.contains(&other.id)));
    }
}

impl Content for Filters {
    const NAME: &'static str = "filters";
    const VERSION: u32 = 1;

    fn join(&mut self, other: Self) {
        let known: Vec<_> = self.filters.iter().map(|known| known.id.clone()).collect();
        self.filters.extend(other.filters.into_iter().filter(|other| !known.contains(&other.id)));
    }
}

impl Collections {
    pub(crate) fn find(&self, id: &str) -> Result<&Collection, Failure> {
        self.collections.iter().find(|known| known.id == id).ok_or(Failure::NotFound("collection"))
    }

    pub(crate) fn find_mut(&mut self, id: &str) -> Result<&mut Collection, Failure> {
        self.collections.iter_mut().find(|known| known.id == id).ok_or(Failure::NotFound("collection"))
    }

    pub(crate) fn add(&mut self, collection: Collection) -> Result<(), Failure> {
        if self.collections.len() >= COLLECTIONS_MAX {
            return Err(Failure::TooMany(format!("there are {COLLECTIONS_MAX} collections: delete one first")));
        }
        self.collections.push(collection);
        Ok(())
    }

    /// Deletes a collection. Its recordings stay.
    pub(crate) fn delete(&mut self, id: &str) -> Result<(), Failure> {
        self.find(id)?;
        self.collections.retain(|known| known.id != id);
        Ok(())
    }

    /// Lays a recording into a collection: before another, or where it lies already, or at the end.
    pub(crate) fn lay(&mut self, id: &str, member: Member, before: Option<&RecordingId>) -> Result<(), Failure> {
        let all: usize = self.collections.iter().map(|known| known.members.len()).sum();
        let members = &mut self.find_mut(id)?.members;
        let place = members.iter().position(|known| *known == member);
        if place.is_none() && members.len() >= MEMBERS_MAX {
            return Err(Failure::TooMany(format!("a collection holds {MEMBERS_MAX} recordings at most")));
        }
        if place.is_none() && all >= ALL_MEMBERS_MAX {
            return Err(Failure::TooMany(format!("all collections hold {ALL_MEMBERS_MAX} recordings at most")));
        }
        let Some(before) = before else {
            if place.is_none() {
                members.push(member);
            }
            return Ok(());
        };
        if member.recording == *before {
            return Ok(());
        }
        members.retain(|known| *known != member);
        let to = members.iter().position(|known| known.recording == *before);
        members.insert(to.ok_or(Failure::NotFound("recording in the collection"))?, member);
        Ok(())
    }

    /// Takes recordings that were deleted out of all collections.
    pub(crate) fn forget(&mut self, deleted: &[Member]) {
        for collection in &mut self.collections {
            collection.members.retain(|member| !deleted.contains(member));
        }
    }
}

impl Filters {
    /// Saves a filter, in place of one of the same name.
    pub(crate) fn save(&mut self, filter: Filter) -> Result<(), Failure> {
        if let Some(known) = self.filters.iter_mut().find(|known| known.name == filter.name) {
            *known = filter;
            return Ok(());
        }
        if self.filters.len() >= FILTERS_MAX {
            return Err(Failure::TooMany(format!("there are {FILTERS_MAX} saved filters: delete one first")));
        }
        self.filters.push(filter);
        Ok(())
    }

    pub(crate) fn delete(&mut self, id: &str) -> Result<(), Failure> {
        let count = self.filters.len();
        self.filters.retain(|known| known.id != id);
        if self.filters.len() < count { Ok(()) } else { Err(Failure::NotFound("filter")) }
    }
}
