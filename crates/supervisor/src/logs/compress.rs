//! Gzips rotated files on a thread of its own, so that nobody waits for it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::rotation;

/// The names of one log's rotated files: renamed by the writer and by the compressor, never by both at once.
#[derive(Debug)]
pub(super) struct Names {
    base: PathBuf,
    lock: Mutex<()>,
    queued: AtomicBool,
}

impl Names {
    pub(super) fn new(base: PathBuf) -> Arc<Self> {
        Arc::new(Self { base, lock: Mutex::new(()), queued: AtomicBool::new(false) })
    }

    /// Runs `rename` while the compressor renames nothing.
    pub(super) fn locked<T>(&self, rename: impl FnOnce() -> T) -> T {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        rename()
    }
}

/// The thread that compresses; it ends when the last handle is dropped and its work is done.
#[derive(Debug, Clone)]
pub struct Compressor(mpsc::Sender<Arc<Names>>);

impl Compressor {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        // At most one entry for each log, so the queue is bounded by their number.
        let (queue, jobs) = mpsc::channel::<Arc<Names>>();
        thread::Builder::new().name("compress".to_owned()).stack_size(1 << 20).spawn(move || {
            for names in jobs {
                names.queued.store(false, Ordering::SeqCst);
                if let Err(error) = compress_all(&names) {
                    log::warn!("cannot compress rotated files of {}: {error}", names.base.display());
                }
            }
        })?;
        Ok(Self(queue))
    }

    /// Has every rotated file of this log compressed that is not yet.
    pub(super) fn compress(&self, names: &Arc<Names>) {
        if !names.queued.swap(true, Ordering::SeqCst) {
            let _ = self.0.send(Arc::clone(names));
        }
    }
}

/// The rotated files of a log, newest first.
pub(super) fn list(base: &Path) -> io::Result<Vec<file_rotate::SuffixInfo<usize>>> {
    let folder = base.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = match fs::read_dir(folder) {
        // A folder that is not there yet holds nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    Ok(rotation::rotated(base, names))
}

fn compress_all(names: &Names) -> io::Result<()> {
    // The oldest first: it has the longest way behind it, and the newest may be renamed meanwhile.
    while let Some(source) = names.locked(|| oldest_plain(&names.base))? {
        let partial = PathBuf::from(format!("{}.gz.partial", names.base.display()));
        let inode = source.metadata()?.ino();
        let written = gzip(&source, &partial);
        let done = written.and_then(|()| names.locked(|| replace(&names.base, inode, &partial)));
        if done.is_err() {
            let _ = fs::remove_file(&partial);
        }
        done?;
    }
    Ok(())
}

fn oldest_plain(base: &Path) -> io::Result<Option<File>> {
    let found = list(base)?;
    for info in found.iter().rev().filter(|info| !info.compressed) {
        let done = found.iter().any(|other| other.compressed && other.suffix == info.suffix);
        if done {
            // The daemon died between the two last steps; the compressed file is whole.
            fs::remove_file(info.to_path(base))?;
            continue;
        }
        match File::open(info.to_path(base)) {
            Ok(file) if file.metadata()?.is_file() => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn gzip(source: &File, partial: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(File::create(partial)?, Compression::new(6));
    io::copy(&mut &*source, &mut encoder)?;
    let mut file = encoder.finish()?;
    file.flush()?;
    file.set_permissions(source.metadata()?.permissions())?;
    file.sync_all()
}

/// Puts the compressed file in the place that its source has now, which rotations may have moved on.
fn replace(base: &Path, inode: u64, partial: &Path) -> io::Result<()> {
    for info in list(base)?.into_iter().filter(|info| !info.compressed) {
        let plain = info.to_path(base);
        if fs::metadata(&plain).is_ok_and(|metadata| metadata.ino() == inode) {
            let compressed = file_rotate::SuffixInfo { suffix: info.suffix, compressed: true };
            fs::rename(partial, compressed.to_path(base))?;
            return fs::remove_file(plain);
        }
    }
    // It was one too many meanwhile.
    fs::remove_file(partial)
}
