//! An object store in memory that fails by plan: errors, lost replies, replies that come before the deed, cut reads.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use reelcase_store::inbox::sim::Chance;

/// See the module's page. Clones are the same store.
#[derive(Clone)]
pub(crate) struct FaultyObjects {
    pub(crate) inner: Arc<InMemory>,
    plan: Arc<Mutex<Plan>>,
}

struct Plan {
    chance: Chance,
    /// Of a hundred operations, so many fail.
    fault_percent: usize,
    /// Writes that were said to have failed and are still on their way.
    late: Vec<(Path, PutPayload, PutOptions)>,
    /// Objects whose write was not answered with success and that nobody has seen since: a power cut may take or
    /// tear them.
    unsure: Vec<Path>,
    /// Writes that the store was asked for.
    put_count: u64,
}

/// What becomes of one operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    /// Nothing happens, and an error is reported.
    Failed,
    /// It happens, and an error is reported.
    ReplyLost,
    /// An error is reported, and it happens later.
    Late,
    /// Of a read, only a part comes.
    Cut,
}

impl FaultyObjects {
    pub(crate) fn new(seed: u64) -> Self {
        let plan =
            Plan { chance: Chance::new(seed), fault_percent: 0, late: Vec::new(), unsure: Vec::new(), put_count: 0 };
        Self { inner: Arc::new(InMemory::new()), plan: Arc::new(Mutex::new(plan)) }
    }

    pub(crate) fn fail_percent(&self, percent: usize) {
        self.plan().fault_percent = percent;
    }

    pub(crate) fn put_count(&self) -> u64 {
        self.plan().put_count
    }

    /// Leaves the store as a power cut may: what was not known to be written is gone, torn or there.
    pub(crate) async fn cut_power(&self) {
        let unsure = std::mem::take(&mut self.plan().unsure);
        self.plan().late.clear();
        for path in unsure {
            let Ok(got) = self.inner.get(&path).await else { continue };
            let bytes = got.bytes().await.unwrap();
            let (fate, at) = {
                let chance = &mut self.plan().chance;
                (chance.below(4), chance.below(bytes.len().max(1)))
            };
            let mut torn = bytes.to_vec();
            match fate {
                0 => {
                    self.inner.delete(&path).await.unwrap();
                    continue;
                }
                1 => torn.truncate(at),
                2 => torn[at..bytes.len().min(at + 512)].fill(0),
                _ => {}
            }
            self.inner.put(&path, torn.into()).await.unwrap();
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap()
    }

    fn fate(&self, fates: &[Fate]) -> Fate {
        let mut plan = self.plan();
        let percent = plan.fault_percent;
        if plan.chance.percent(percent) { fates[plan.chance.below(fates.len())] } else { Fate::Well }
    }

    /// Does what is still on its way, now and then.
    async fn settle_late(&self) {
        let late = {
            let mut plan = self.plan();
            if plan.late.is_empty() || !plan.chance.percent(50) {
                return;
            }
            std::mem::take(&mut plan.late)
        };
        for (path, payload, options) in late {
            // By now there may be another object of that name, which it then must not replace.
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
    }
}

fn failure() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "made to fail".into() }
}

#[async_trait]
impl ObjectStore for FaultyObjects {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.settle_late().await;
        self.plan().put_count += 1;
        let fate = self.fate(&[Fate::Failed, Fate::ReplyLost, Fate::Late]);
        if fate == Fate::Well {
            self.plan().unsure.retain(|unsure| unsure != path);
        } else {
            self.plan().unsure.push(path.clone());
        }
        tokio::task::yield_now().await;
        match fate {
            Fate::Late => self.plan().late.push((path.clone(), payload, options)),
            Fate::ReplyLost => drop(self.inner.put_opts(path, payload, options).await?),
            Fate::Well => return self.inner.put_opts(path, payload, options).await,
            Fate::Failed | Fate::Cut => {}
        }
        Err(failure())
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.settle_late().await;
        match self.fate(&[Fate::Failed, Fate::Cut]) {
            Fate::Well => self.inner.get_opts(path, options).await,
            Fate::Cut if !options.head => {
                let got = self.inner.get_opts(path, options).await?;
                let (meta, range) = (got.meta.clone(), got.range.clone());
                let bytes: Bytes = got.bytes().await?;
                let part = bytes.slice(..bytes.len() / 2);
                let range = Range { start: range.start, end: range.start + part.len() as u64 };
                let payload =
                    object_store::GetResultPayload::Stream(futures::stream::once(async move { Ok(part) }).boxed());
                Ok(GetResult {
                    payload,
                    meta,
                    range,
                    attributes: object_store::Attributes::default(),
                    extensions: Default::default(),
                })
            }
            _ => Err(failure()),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fate(&[Fate::Failed]) {
            Fate::Well => {
                self.plan().unsure.clear();
                self.inner.list(prefix)
            }
            _ => futures::stream::once(async { Err(failure()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.settle_late().await;
        match self.fate(&[Fate::Failed]) {
            Fate::Well => self.inner.list_with_delimiter(prefix).await,
            _ => Err(failure()),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.fate(&[Fate::Failed]) {
            Fate::Well => self.inner.copy_opts(from, to, options).await,
            _ => Err(failure()),
        }
    }
}

impl fmt::Debug for FaultyObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyObjects")
    }
}

impl fmt::Display for FaultyObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyObjects")
    }
}
