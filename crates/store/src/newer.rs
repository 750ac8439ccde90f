//! Objects of a newer format, as a downgrade by mistake meets them.
//!
//! They are not damaged: a release that knows their format reads them. So they stay where they are, nothing is written
//! or deleted in their place, and everything else is served. The catalog remembers which they are, because it goes on
//! to higher numbers meanwhile; each start looks at them again, and enters those that it understands by then.
//!
//! Which blocks of other objects they replace is not known either. So nothing is compacted or swept as long as there
//! are any: a second copy of what they hold must not be made, nor the first one taken away.

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, CatalogError};
use crate::objects::{Listed, Objects};
use crate::store::{Store, StoreError, locked};

/// Under which name the catalog remembers them.
const NEWER_OBJECTS: &str = "catalog newer_objects";

/// An object whose format is newer than this release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewerObject {
    /// The object.
    pub object: String,
    /// The version of its format.
    pub version: u16,
    seq: u64,
}

impl NewerObject {
    pub(crate) fn new(object: &Listed, version: u16) -> Self {
        Self { object: object.id.clone(), version, seq: object.seq }
    }
}

impl Store {
    /// Objects of a newer format, by sequence number. What they hold is not listed.
    pub fn newer_objects(&self) -> Vec<NewerObject> {
        locked(&self.newer).clone()
    }

    pub(crate) async fn remember_newer(&self, newer: Vec<NewerObject>) -> Result<(), CatalogError> {
        remember(self.catalog.as_ref(), &newer).await?;
        *locked(&self.newer) = newer;
        Ok(())
    }

    /// What an earlier start left because it was newer, as far as it still exists.
    pub(crate) async fn left_as_newer(&self) -> Result<Vec<Listed>, StoreError> {
        found(&self.objects, self.catalog.setting(NEWER_OBJECTS).await?).await
    }
}

/// Writes down which objects are newer, where that is not written yet.
pub(crate) async fn remember(catalog: &dyn Catalog, newer: &[NewerObject]) -> Result<(), CatalogError> {
    let known = catalog.setting(NEWER_OBJECTS).await?;
    let text = if newer.is_empty() { String::new() } else { serde_json::to_string(newer).unwrap_or_default() };
    if known.unwrap_or_default() == text { Ok(()) } else { catalog.set_setting(NEWER_OBJECTS, &text).await }
}

async fn found(objects: &Objects, remembered: Option<String>) -> Result<Vec<Listed>, StoreError> {
    // Only this release writes it; what cannot be read is found by a rebuild.
    let newer: Vec<NewerObject> = remembered.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut left = Vec::new();
    for NewerObject { object, seq, .. } in newer {
        let stored_bytes = objects.stored_bytes(&object).await?;
        left.extend(stored_bytes.map(|stored_bytes| Listed { seq, id: object, stored_bytes }));
    }
    Ok(left)
}
