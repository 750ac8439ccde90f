//! A damaged catalog is found at the start, set aside for whoever wants to look at it, and replaced by an empty one
//! that the objects then fill. What objects do not tell, names of projects and settings, is carried over where it can
//! still be read.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::sqlite::{Failure, SqliteCatalog};
use super::{Catalog, CatalogError, Project};
use crate::settings::OF_CATALOG;

/// Databases up to this size are checked whole at every start, which takes some tenths of a second at most. Larger ones
/// are checked when a query has met damage in them.
const CHECKED_BYTES_MAX: u64 = 64 << 20;

/// What belongs to a database beside its own file.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// A catalog that was replaced.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// Where the old one is now.
    pub(crate) aside: PathBuf,
    /// Why.
    pub(crate) reason: String,
    projects: Vec<Project>,
    settings: Vec<(String, String)>,
}

impl SqliteCatalog {
    /// Opens the catalog. One that is damaged is set aside, and an empty one is opened in its place. Blocks.
    pub(crate) fn open_or_replace(path: &Path) -> Result<(Self, Option<Replaced>), CatalogError> {
        let replaced = match find_damage(path) {
            Some(reason) => Some(set_aside(path, reason)?),
            None => None,
        };
        match Self::open(path) {
            Err(CatalogError::Damaged { reason, .. }) if replaced.is_none() => {
                let replaced = set_aside(path, reason)?;
                Ok((Self::open(path)?, Some(replaced)))
            }
            opened => Ok((opened?, replaced)),
        }
    }

    /// Sets the catalog aside, damaged or not, and opens an empty one in its place. Blocks.
    pub(crate) fn open_anew(path: &Path) -> Result<(Self, Replaced), CatalogError> {
        let replaced = set_aside(path, "it is made anew".to_owned())?;
        Ok((Self::open(path)?, replaced))
    }
}

impl Replaced {
    /// Carries over what could be read of the old catalog and is told by no object.
    pub(crate) async fn carry_over(self, catalog: &dyn Catalog) -> Result<(), CatalogError> {
        for project in self.projects {
            catalog.create_project(project).await?;
        }
        // What the old one knew of itself may be what the damage took.
        for (name, value) in self.settings.into_iter().filter(|(name, _)| !name.starts_with(OF_CATALOG)) {
            catalog.set_setting(&name, &value).await?;
        }
        Ok(())
    }
}

/// Remembers that a query met damage, so that the next start looks at the whole file.
pub(super) fn suspect(path: &Path) {
    if let Err(error) = std::fs::write(beside(path, ".suspect"), "a query met damage\n") {
        tracing::warn!(%error, "cannot note that the catalog is damaged");
    }
}

/// Moves a catalog out of the way, under the first free name.
fn set_aside(path: &Path, reason: String) -> Result<Replaced, CatalogError> {
    let unusable = |error: std::io::Error| CatalogError::Unavailable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let names = (1..).map(|number| beside(path, &format!(".damaged-{number}")));
    let is_free = |aside: &PathBuf| !COMPANIONS.iter().chain(&[""]).any(|end| beside(aside, end).exists());
    let aside = names.into_iter().find(is_free).unwrap_or_else(|| beside(path, ".damaged"));
    for end in COMPANIONS.iter().chain(&[""]) {
        match std::fs::rename(beside(path, end), beside(&aside, end)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(error)),
            _ => {}
        }
    }
    let _ = std::fs::remove_file(beside(path, ".suspect"));
    let (projects, settings) = read_what_objects_do_not_tell(&aside);
    Ok(Replaced { aside, reason, projects, settings })
}

/// Says what is wrong with a database, if anything is. One that is not there is not damaged.
fn find_damage(path: &Path) -> Option<String> {
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    if bytes == 0 {
        // SQLite would play the log of the lost database into a new one.
        let has_log = std::fs::metadata(beside(path, "-wal")).is_ok_and(|meta| meta.len() > 0);
        return has_log.then(|| "the database is gone and its log is not".to_owned());
    }
    if bytes > CHECKED_BYTES_MAX && !beside(path, ".suspect").exists() {
        return None;
    }
    match check(path) {
        Ok(damage) => damage,
        // What cannot be opened for another reason than damage says so itself when it is opened to be used.
        Err(Failure::Sqlite(error)) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Some(error.to_string()),
            _ => None,
        },
        Err(_) => None,
    }
}

fn check(path: &Path) -> Result<Option<String>, Failure> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Ok(Some(found));
    }
    let has_tables: bool = db.query_row(
        "SELECT count(*) = 3 FROM sqlite_master WHERE name IN ('objects', 'blocks', 'progress')",
        [],
        |row| row.get(0),
    )?;
    if !has_tables {
        return Ok(None);
    }
    // Pages of different ages, as a log that was lost leaves them: each sound, and together no catalog.
    let is_whole: bool = db.query_row(
        "SELECT (SELECT total(live_blocks) FROM objects) = (SELECT count(*) FROM blocks)
            AND (SELECT ifnull(max(seq), -1) FROM objects) < (SELECT next_object_seq FROM progress)",
        [],
        |row| row.get(0),
    )?;
    Ok((!is_whole).then(|| "its tables do not agree".to_owned()))
}

/// Reads projects and settings, as far as that goes.
fn read_what_objects_do_not_tell(path: &Path) -> (Vec<Project>, Vec<(String, String)>) {
    let read = || -> Result<_, rusqlite::Error> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let mut select = db.prepare("SELECT key, name, created_at_ms FROM projects ORDER BY key")?;
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
        let projects: Vec<_> = rows
            .filter_map(Result::ok)
            .filter_map(|(key, name, created_at_ms)| Some(Project { key: key.parse().ok()?, name, created_at_ms }))
            .collect();
        let mut select = db.prepare("SELECT name, value FROM settings ORDER BY name")?;
        let settings = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.filter_map(Result::ok).collect();
        Ok((projects, settings))
    };
    read().unwrap_or_default()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
