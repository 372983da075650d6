//! LMDB by way of heed: one mapped file, a copy-on-write B-tree.

use std::path::Path;

use anyhow::{Result, anyhow};
use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, PutFlags, WithoutTls};

use crate::store::{Batch, Store};

pub struct Lmdb {
    /// Leaked: heed's databases borrow their environment.
    env: &'static Env<WithoutTls>,
    events: Database<'static, U64<BigEndian>, Bytes>,
    keys: Database<'static, Bytes, U64<BigEndian>>,
    meta: Database<'static, Bytes, Bytes>,
}

pub fn open(folder: &Path) -> Result<Lmdb> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(2 << 30).max_dbs(3);
    // SAFETY: only this benchmark touches the folder, and it expects to die of its own damage.
    let env: &'static _ = Box::leak(Box::new(unsafe { options.open(folder)? }));
    let opened = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
        heed::Result::Ok(CommitOrAbort::<_, ()>::Commit((
            opener.create_database(transaction, Some("events"))?,
            opener.create_database(transaction, Some("keys"))?,
            opener.create_database(transaction, Some("meta"))?,
        )))
    })?;
    let CommitOrAbort::Commit((events, keys, meta)) = opened else {
        return Err(anyhow!("the tables were not made"));
    };
    Ok(Lmdb { env, events, keys, meta })
}

impl Store for Lmdb {
    fn commit(&self, batch: &Batch) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        if !batch.gone.is_empty() {
            self.events.delete_range(&mut transaction, &batch.gone)?;
        }
        for (ordinal, event) in (batch.first..).zip(&batch.events) {
            self.events.put_with_flags(&mut transaction, PutFlags::APPEND, &ordinal, event)?;
        }
        self.keys.put(&mut transaction, &batch.key, &batch.first)?;
        self.keys.delete(&mut transaction, &batch.key_gone)?;
        self.meta.put(&mut transaction, &[0], &batch.meta)?;
        Ok(transaction.commit()?)
    }

    fn scan(&self, from: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for event in self.events.range(&transaction, &(from..))?.take(limit) {
            let (ordinal, bytes) = event?;
            each(ordinal, bytes);
        }
        Ok(())
    }
}

impl Drop for Lmdb {
    fn drop(&mut self) {
        let env: *const Env<WithoutTls> = self.env;
        // SAFETY: it was leaked in `open`, and the databases are not used again.
        drop(unsafe { Box::from_raw(env.cast_mut()) });
    }
}
