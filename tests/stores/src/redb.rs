//! redb: one file, a copy-on-write B-tree.

use std::path::Path;

use anyhow::Result;
use redb::{Builder, Database, ReadableDatabase, TableDefinition};

use crate::store::{Batch, Store};

const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const KEYS: TableDefinition<&[u8], u64> = TableDefinition::new("keys");
const META: TableDefinition<u8, &[u8]> = TableDefinition::new("meta");

/// What a commit writes besides the events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// The tables of keys and meta.
    Tables,
    /// Those, and what makes repair quick: the allocator's state, with a second sync.
    QuickRepair,
    /// Nothing: keys and meta can be fields of an event's record.
    Nothing,
}

pub struct Redb {
    database: Database,
    extra: Extra,
}

pub fn open(folder: &Path, extra: Extra) -> Result<Redb> {
    let database = Builder::new().set_cache_size(4 << 20).create(folder.join("events.redb"))?;
    Ok(Redb { database, extra })
}

impl Store for Redb {
    fn commit(&self, batch: &Batch) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_quick_repair(self.extra == Extra::QuickRepair);
        {
            let mut events = transaction.open_table(EVENTS)?;
            if !batch.gone.is_empty() {
                events.retain_in(batch.gone.clone(), |_, _| false)?;
            }
            for (ordinal, event) in (batch.first..).zip(&batch.events) {
                events.insert(ordinal, event.as_slice())?;
            }
        }
        if self.extra != Extra::Nothing {
            let mut keys = transaction.open_table(KEYS)?;
            keys.insert(batch.key.as_slice(), batch.first)?;
            keys.remove(batch.key_gone.as_slice())?;
            transaction.open_table(META)?.insert(0, batch.meta.as_slice())?;
        }
        Ok(transaction.commit()?)
    }

    fn scan(&self, from: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        for event in events.range(from..)?.take(limit) {
            let (ordinal, bytes) = event?;
            each(ordinal.value(), bytes.value());
        }
        Ok(())
    }
}
