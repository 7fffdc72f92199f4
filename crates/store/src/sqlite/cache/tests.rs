//! The contract of the cache on a file, and what only a file can do wrong.

use std::fs;
use std::os::unix::fs::FileExt as _;

use quillwork_app::ports::cache::Tier;
use quillwork_app::ports::cache::conformance::{conforms, key, value};
use tempfile::TempDir;

use super::*;

const MIB: u64 = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3_600);

fn in_dir(dir: &TempDir) -> SqliteCache {
    SqliteCache::new(dir.path(), 64 * MIB)
}

fn numbered(n: u32) -> CacheKey {
    CacheKey::new("test", &[&n.to_le_bytes()])
}

#[tokio::test]
async fn a_file_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&in_dir(&dir)).await;
}

#[tokio::test]
async fn values_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    in_dir(&dir).put(&key, value("kept"), HOUR).await;
    let hit = in_dir(&dir).look_up(&key).await.unwrap();
    assert_eq!((hit.value, hit.tier), (value("kept"), Tier::Store));
    assert!(hit.ttl <= HOUR);
}

#[tokio::test]
async fn nothing_is_opened_before_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    drop(in_dir(&dir));
    assert!(!dir.path().join(CACHE_FILE).exists());
}

#[test]
fn what_was_not_used_for_longest_is_forgotten_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = CacheFile::new(dir.path().join(CACHE_FILE), 10_000);
    for n in 0..7 {
        file.work(|entries| entries.put(&numbered(n), &[0; 1_000], i64::from(n), HOUR)).unwrap();
    }
    // Used again, so that 1 is the oldest.
    assert!(file.work(|entries| entries.look_up(&numbered(0), 100)).unwrap().is_some());
    file.work(|entries| entries.put(&numbered(7), &[0; 3_000], 101, HOUR)).unwrap();
    let left: Vec<u32> = (0..8)
        .filter(|n| file.work(|entries| entries.look_up(&numbered(*n), 102)).unwrap().is_some())
        .collect();
    assert_eq!(left, [0, 3, 4, 5, 6, 7]);
    assert!(file.work(|entries| Ok(entries.bytes())).unwrap() <= 10_000);
    // One that is larger than everything leaves nothing, and takes nothing with it.
    file.work(|entries| entries.put(&numbered(3), &[0; 10_000], 103, HOUR)).unwrap();
    assert_eq!(file.work(|entries| entries.look_up(&numbered(3), 103)).unwrap(), None);
    assert!(file.work(|entries| entries.look_up(&numbered(4), 103)).unwrap().is_some());
}

#[test]
fn the_bytes_are_counted_over_lives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(CACHE_FILE);
    let bytes = |file: &mut CacheFile| file.work(|entries| Ok(entries.bytes())).unwrap();
    let mut file = CacheFile::new(path.clone(), MIB);
    for n in 0..10 {
        file.work(|entries| entries.put(&numbered(n % 5), &[0; 1_000], 0, HOUR)).unwrap();
    }
    file.work(|entries| entries.remove(&numbered(0))).unwrap();
    let before = bytes(&mut file);
    assert_eq!(before, 4 * 1_256);
    drop(file);
    assert_eq!(bytes(&mut CacheFile::new(path, MIB)), before);
}

#[test]
fn what_has_expired_leaves_the_file_when_others_come() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = CacheFile::new(dir.path().join(CACHE_FILE), MIB);
    for n in 0..20 {
        file.work(|entries| entries.put(&numbered(n), &[0; 1_000], 0, Duration::from_millis(10))).unwrap();
    }
    for n in 20..23 {
        file.work(|entries| entries.put(&numbered(n), &[0; 1_000], 11, HOUR)).unwrap();
    }
    assert_eq!(file.work(|entries| Ok(entries.bytes())).unwrap(), 3 * 1_256);
}

#[test]
fn what_was_used_last_is_there_for_a_new_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = CacheFile::new(dir.path().join(CACHE_FILE), MIB);
    let other = CacheKey::new("other", &[]);
    for n in 0..5 {
        file.work(|entries| entries.put(&numbered(n), &[0; 1_000], i64::from(n), HOUR)).unwrap();
    }
    file.work(|entries| entries.put(&numbered(5), &[0; 1_000], 6, Duration::from_millis(1))).unwrap();
    file.work(|entries| entries.put(&other, &[0; 1_000], 7, HOUR)).unwrap();
    file.work(|entries| entries.look_up(&numbered(1), 8)).unwrap();
    let mut recent = |namespaces: &[&'static str], max_bytes| -> Vec<CacheKey> {
        let recent = file.work(|entries| entries.recent(namespaces, max_bytes, 9)).unwrap();
        recent.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(recent(&["test"], 3_000), [numbered(1), numbered(4)]);
    assert_eq!(recent(&["test", "other"], MIB)[..2], [numbered(1), other]);
    assert_eq!(recent(&["test"], MIB).len(), 5, "what has expired is not used");
    assert_eq!(recent(&[], MIB), []);
}

/// Each way in which a file can be wrong, before it is opened.
#[tokio::test]
async fn a_damaged_file_is_moved_aside_and_made_anew() {
    type Damage = fn(&fs::File, u64);
    let damages: [(&str, Damage); 3] = [
        ("its header", |file, _| file.write_all_at(&[0x55; 100], 0).unwrap()),
        ("its pages", |file, length| {
            for page in 1..length / 4_096 {
                file.write_all_at(&[0x55; 4_096], page * 4_096).unwrap();
            }
        }),
        ("half of it", |file, length| file.set_len(length / 2 / 4_096 * 4_096).unwrap()),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let cache = in_dir(&dir);
        for n in 0..50 {
            cache.put(&numbered(n), vec![7; 3_000].into(), HOUR).await;
        }
        drop(cache);
        let path = dir.path().join(CACHE_FILE);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        damage(&file, file.metadata().unwrap().len());
        drop(file);

        let cache = in_dir(&dir);
        for n in 0..50 {
            let _ = cache.get(&numbered(n)).await;
        }
        cache.put(&numbered(99), value("after"), HOUR).await;
        assert_eq!(cache.get(&numbered(99)).await, Some(value("after")), "{what}");
        assert!(dir.path().join("cache.db.damaged").exists(), "{what}");
    }
}

/// SQLite does not see it.
#[tokio::test]
async fn a_damaged_value_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let [damaged, other] = [key(), key()];
    let cache = in_dir(&dir);
    cache.put(&damaged, value("damaged"), HOUR).await;
    cache.put(&other, value("other"), HOUR).await;
    drop(cache);
    let conn = rusqlite::Connection::open(dir.path().join(CACHE_FILE)).unwrap();
    conn.execute("UPDATE entries SET value = ?1 WHERE digest = ?2", (&b"dam\x00ged"[..], damaged.digest()))
        .unwrap();
    drop(conn);
    let cache = in_dir(&dir);
    assert_eq!(cache.get(&damaged).await, None);
    assert_eq!(cache.get(&other).await, Some(value("other")));
}

#[tokio::test]
async fn a_file_of_another_version_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    in_dir(&dir).put(&key, value("before"), HOUR).await;
    let conn = rusqlite::Connection::open(dir.path().join(CACHE_FILE)).unwrap();
    conn.execute_batch("PRAGMA user_version=99; DROP TABLE entries; CREATE TABLE entries (later)").unwrap();
    drop(conn);
    let cache = in_dir(&dir);
    assert_eq!(cache.get(&key).await, None);
    cache.put(&key, value("after"), HOUR).await;
    assert_eq!(cache.get(&key).await, Some(value("after")));
}

#[tokio::test]
async fn without_a_directory_everything_is_a_miss_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let later = dir.path().join("later");
    let (cache, key) = (SqliteCache::new(&later, MIB), key());
    cache.put(&key, value("lost"), HOUR).await;
    assert_eq!(cache.get(&key).await, None);
    fs::create_dir(&later).unwrap();
    cache.put(&key, value("kept"), HOUR).await;
    assert_eq!(cache.get(&key).await, Some(value("kept")));
}
