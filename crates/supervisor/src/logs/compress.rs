//! Gzips rotated files on a thread of its own, so that nobody waits for it.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
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
        if let Some(file) = open_plain(&info.to_path(base))? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// The file of this name, unless it is of a kind that no rotation leaves there, or gone. A link of either kind may have
/// been laid by whoever may write to the folder, to have a file of others copied.
fn open_plain(path: &Path) -> io::Result<Option<File>> {
    // Whoever opens a pipe waits for its other end, unless he says that he does not.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok((metadata.is_file() && metadata.nlink() == 1).then_some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file of ours under this name, whatever had it, and for nobody else as long as it is not whole.
fn create(partial: &Path) -> io::Result<File> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(partial)
}

fn gzip(source: &File, partial: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(create(partial)?, Compression::new(6));
    io::copy(&mut &*source, &mut encoder)?;
    let mut file = encoder.finish()?;
    file.flush()?;
    hand_over(&file, &source.metadata()?)?;
    file.sync_all()
}

/// Whoever reads the log reads its old files too, and nobody else; they are no programs.
fn hand_over(file: &File, source: &Metadata) -> io::Result<()> {
    let mode = source.mode() & 0o666;
    let mode = match fchown(file, Some(source.uid()), Some(source.gid())) {
        Ok(()) => mode,
        // It stays in the daemon's group, whose members are those others of before.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => mode & 0o606 | (mode & 0o006) << 3,
        Err(error) => return Err(error),
    };
    file.set_permissions(Permissions::from_mode(mode))
}

/// Puts the compressed file in the place that its source has now, which rotations may have moved on.
fn replace(base: &Path, inode: u64, partial: &Path) -> io::Result<()> {
    for info in list(base)?.into_iter().filter(|info| !info.compressed) {
        let plain = info.to_path(base);
        if fs::symlink_metadata(&plain).is_ok_and(|metadata| metadata.ino() == inode) {
            let compressed = file_rotate::SuffixInfo { suffix: info.suffix, compressed: true };
            fs::rename(partial, compressed.to_path(base))?;
            return fs::remove_file(plain);
        }
    }
    // It was one too many meanwhile.
    fs::remove_file(partial)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_the_place_of_the_unfinished_file_is_not_followed() {
        // Attack: whoever may write to the folder of the log lays a link to a file of others where the daemon, which
        // is root, gzips to.
        let folder = tempfile::TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("victim"), "precious").unwrap();
        for target in ["victim", "not-there"] {
            symlink(path(target), path("x.log.gz.partial")).unwrap();
            fs::write(path("x.log.1"), "old\n").unwrap();
            fs::set_permissions(path("x.log.1"), PermissionsExt::from_mode(0o640)).unwrap();
            let _ = fs::remove_file(path("x.log.1.gz"));
            compress_all(&Names::new(path("x.log"))).unwrap();
            assert_eq!(fs::read_to_string(path("victim")).unwrap(), "precious");
            assert!(!path("not-there").exists() && !path("x.log.1").exists());
            assert!(fs::symlink_metadata(path("x.log.gz.partial")).is_err());
            let mut text = String::new();
            let zipped = File::open(path("x.log.1.gz")).unwrap();
            // Whoever reads the log reads its old files too, compressed or not.
            assert_eq!(zipped.metadata().unwrap().mode() & 0o7777, 0o640);
            flate2::read::GzDecoder::new(zipped).read_to_string(&mut text).unwrap();
            assert_eq!(text, "old\n");
        }
    }

    #[test]
    fn the_unfinished_file_is_for_nobody_else_whatever_was_there() {
        let folder = tempfile::TempDir::new().unwrap();
        let partial = folder.path().join("x.log.gz.partial");
        fs::write(&partial, "of a daemon that died").unwrap();
        fs::set_permissions(&partial, PermissionsExt::from_mode(0o666)).unwrap();
        let file = create(&partial).unwrap();
        assert_eq!((file.metadata().unwrap().mode() & 0o7777, file.metadata().unwrap().len()), (0o600, 0));
    }

    #[test]
    fn a_pipe_with_the_name_of_an_old_file_is_left_alone() {
        // Attack: opened as a file it would hold up the thread for ever, and with it every other log.
        let folder = tempfile::TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&path("x.log.2"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(path("x.log.1"), "old\n").unwrap();
        compress_all(&Names::new(path("x.log"))).unwrap();
        assert!(path("x.log.1.gz").exists() && path("x.log.2").exists());
    }

    #[test]
    fn a_link_in_the_place_of_an_old_file_is_left_alone() {
        // Attack: whoever may write to the folder of the log, but not read a file of root, lays a link to it, soft or
        // hard, with the name of an old file, and reads the copy that the daemon makes.
        let folder = tempfile::TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("secret"), "secret\n").unwrap();
        fs::write(path("other"), "secret\n").unwrap();
        symlink(path("secret"), path("x.log.3")).unwrap();
        fs::hard_link(path("other"), path("x.log.2")).unwrap();
        fs::write(path("x.log.1"), "old\n").unwrap();
        compress_all(&Names::new(path("x.log"))).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["other", "secret", "x.log.1.gz", "x.log.2", "x.log.3"]);
        assert!(fs::symlink_metadata(path("x.log.3")).unwrap().is_symlink());
    }

    #[test]
    fn a_compressed_file_is_the_owner_s_and_never_a_program() {
        // Attack: an old file with setuid bits makes a file of root that runs as root.
        let folder = tempfile::TempDir::new().unwrap();
        let (plain, zipped) = (folder.path().join("x.log.1"), folder.path().join("x.log.1.gz"));
        let own = folder.path().metadata().unwrap();
        let root = own.uid() == 0;
        let ids = if root { (65_534, 65_533) } else { (own.uid(), own.gid()) };
        fs::write(&plain, "old\n").unwrap();
        std::os::unix::fs::chown(&plain, Some(ids.0), Some(ids.1)).unwrap();
        fs::set_permissions(&plain, Permissions::from_mode(0o6755)).unwrap();
        compress_all(&Names::new(folder.path().join("x.log"))).unwrap();
        let made = zipped.metadata().unwrap();
        assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (0o644, ids.0, ids.1));
    }
}
