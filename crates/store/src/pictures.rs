//! Pictures that lie beside a store's objects, each a file of its own, `<store>/pictures/NAME.jpg`. What they are of, and
//! whether a file is what was written, is for whoever named them to know.

use bytes::Bytes;

use crate::store::{Store, StoreError};

impl Store {
    /// Keeps a picture. When this returns it is on stable storage.
    pub async fn put_picture(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        Ok(self.objects.put_picture(&self.store_id, name, bytes).await?)
    }

    /// The bytes of a picture, not verified; `None` where there is none of this name.
    pub async fn picture(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.objects.picture(&self.store_id, name).await?)
    }

    /// Deletes a picture, for good when this returns. Tolerates that it is gone.
    pub async fn delete_picture(&self, name: &str) -> Result<(), StoreError> {
        Ok(self.objects.delete_picture(&self.store_id, name).await?)
    }

    /// Names of all pictures that are kept.
    pub async fn pictures(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.objects.pictures(&self.store_id).await?)
    }
}
