//! fjall: a log-structured merge tree with a journal.

use std::path::Path;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::store::{Batch, Store};

pub struct Fjall {
    database: Database,
    events: Keyspace,
    keys: Keyspace,
    meta: Keyspace,
}

pub fn open(folder: &Path) -> Result<Fjall> {
    let database = Database::builder(folder)
        .cache_size(1 << 20)
        .max_journaling_size(64 << 20)
        .worker_threads(1)
        .manual_journal_persist(true)
        .open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(4 << 20);
    let events = database.keyspace("events", options)?;
    let keys = database.keyspace("keys", options)?;
    let meta = database.keyspace("meta", options)?;
    Ok(Fjall { database, events, keys, meta })
}

impl Store for Fjall {
    fn commit(&self, batch: &Batch) -> Result<()> {
        let mut write = self.database.batch().durability(Some(PersistMode::SyncData));
        for ordinal in batch.gone.clone() {
            write.remove(&self.events, ordinal.to_be_bytes());
        }
        for (ordinal, event) in (batch.first..).zip(&batch.events) {
            write.insert(&self.events, ordinal.to_be_bytes(), event.as_slice());
        }
        write.insert(&self.keys, batch.key, batch.first.to_be_bytes());
        write.remove(&self.keys, batch.key_gone);
        write.insert(&self.meta, [0], batch.meta);
        Ok(write.commit()?)
    }

    fn scan(&self, from: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for event in self.events.range(from.to_be_bytes()..).take(limit) {
            let (ordinal, bytes) = event.into_inner()?;
            each(u64::from_be_bytes(ordinal.as_ref().try_into()?), &bytes);
        }
        Ok(())
    }
}
