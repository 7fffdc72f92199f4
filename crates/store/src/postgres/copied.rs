//! Many events at once, as `COPY` sends them in its binary format: rows without the bookkeeping of a query's result.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format"

use futures::TryStreamExt as _;
use quillwork_app::ports::store::Happened;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::Position;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection as _};
use uuid::Uuid;

use crate::postgres::rows::{
    Damaged, EventRow, HappenedRow, damaged, event_columns, happened_columns, rows_limit, signed,
};

/// What the data begins with.
const SIGNATURE: [u8; 11] = *b"PGCOPY\n\xff\r\n\0";

/// Stands in the place of the number of columns behind the last row.
const END: i16 = -1;

/// Rows for which there is room from the beginning.
const MAX_CAPACITY: usize = 4_096;

/// Takes no parameters, and always has the same text, so that it is one statement to whoever collects statistics. What it
/// depends on is set for the transaction.
macro_rules! copy {
    ($columns:expr) => {
        concat!(
            "COPY (SELECT ",
            $columns,
            " FROM quillwork.events e WHERE e.position > current_setting('quillwork.after')::bigint
              ORDER BY e.position LIMIT current_setting('quillwork.limit')::bigint) TO STDOUT (FORMAT binary)"
        )
    };
}

/// What is copied of each event: which columns, how many they are, and what becomes of them.
struct Shape<T> {
    copy: &'static str,
    n_columns: i16,
    row: fn(&mut Bytes) -> Result<T, Damaged>,
}

const RECORDED: Shape<Recorded> =
    Shape { copy: copy!(event_columns!()), n_columns: 10, row: |bytes| bytes.event_row()?.recorded() };

const HAPPENED: Shape<Happened> =
    Shape { copy: copy!(happened_columns!()), n_columns: 7, row: |bytes| bytes.happened_row()?.happened() };

/// Up to `limit` events after a position, in order.
pub(super) async fn events(pool: &PgPool, after: Position, limit: usize) -> sqlx::Result<Vec<Recorded>> {
    copied(pool, RECORDED, after, limit).await
}

/// The same, as far as a fold needs them, which is a sixth less work for the server.
pub(super) async fn happened(pool: &PgPool, after: Position, limit: usize) -> sqlx::Result<Vec<Happened>> {
    copied(pool, HAPPENED, after, limit).await
}

async fn copied<T: Send + 'static>(
    pool: &PgPool,
    shape: Shape<T>,
    after: Position,
    limit: usize,
) -> sqlx::Result<Vec<T>> {
    let pool = pool.clone();
    // To its end, also when whoever asked has gone: what was sent and not read would be taken for the next answer.
    let copying = tokio::spawn(async move {
        let mut conn = pool.acquire().await?;
        let copied = copy_out(&mut conn, shape, after, limit).await;
        if copied.is_err() {
            // There may be more to read than the error.
            conn.close_on_drop();
        }
        copied
    });
    copying.await.unwrap_or_else(|error| Err(sqlx::Error::Io(std::io::Error::other(error))))
}

async fn copy_out<T>(
    conn: &mut PgConnection,
    shape: Shape<T>,
    after: Position,
    limit: usize,
) -> sqlx::Result<Vec<T>> {
    let (after, limit) = (signed(after.0), rows_limit(limit));
    // One message, where a query with parameters would be two more.
    let begin = format!(
        "BEGIN READ ONLY; SELECT set_config('quillwork.after', '{after}', true), set_config('quillwork.limit', '{limit}', true)"
    );
    let mut tx = conn.begin_with(AssertSqlSafe(begin)).await?;
    let mut messages = tx.copy_out_raw(shape.copy).await?;
    let mut copied = Copied::new(shape, limit);
    while let Some(message) = messages.try_next().await? {
        copied.add(&message).map_err(damaged)?;
    }
    drop(messages);
    tx.commit().await?;
    copied.whole().map_err(damaged)
}

/// What came so far. Each message has whole rows, the first one behind the signature, the last one before the end.
struct Copied<T> {
    shape: Shape<T>,
    events: Vec<T>,
    has_begun: bool,
    has_ended: bool,
}

impl<T> Copied<T> {
    /// For about so many rows.
    fn new(shape: Shape<T>, limit: i64) -> Self {
        let n_rows = usize::try_from(limit).unwrap_or_default().min(MAX_CAPACITY);
        Self { shape, events: Vec::with_capacity(n_rows), has_begun: false, has_ended: false }
    }

    fn add(&mut self, message: &[u8]) -> Result<(), Damaged> {
        let mut bytes = Bytes(message);
        if !std::mem::replace(&mut self.has_begun, true) {
            if bytes.array()? != SIGNATURE {
                return Err(Damaged::Copy);
            }
            let _flags: [u8; 4] = bytes.array()?;
            let _extension = bytes.field()?;
        }
        while !bytes.0.is_empty() && !self.has_ended {
            match i16::from_be_bytes(bytes.array()?) {
                END => self.has_ended = true,
                n_columns if n_columns == self.shape.n_columns => {
                    self.events.push((self.shape.row)(&mut bytes)?);
                }
                _ => return Err(Damaged::Copy),
            }
        }
        if bytes.0.is_empty() { Ok(()) } else { Err(Damaged::Copy) }
    }

    fn whole(self) -> Result<Vec<T>, Damaged> {
        if self.has_ended { Ok(self.events) } else { Err(Damaged::Copy) }
    }
}

/// What is left to read of a message. All of it is there: whatever ends too soon is damaged.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn event_row(&mut self) -> Result<EventRow<'a>, Damaged> {
        Ok(EventRow {
            position: i64::from_be_bytes(self.fixed()?),
            stream: Uuid::from_bytes(self.fixed()?),
            version: i64::from_be_bytes(self.fixed()?),
            event_id: Uuid::from_bytes(self.fixed()?),
            kind: std::str::from_utf8(self.field()?).map_err(|_| Damaged::Copy)?,
            schema_version: i32::from_be_bytes(self.fixed()?),
            data: self.field()?,
            meta: self.field()?,
            recorded_at: i64::from_be_bytes(self.fixed()?),
            hash: self.field()?,
        })
    }

    fn happened_row(&mut self) -> Result<HappenedRow<'a>, Damaged> {
        Ok(HappenedRow {
            position: i64::from_be_bytes(self.fixed()?),
            stream: Uuid::from_bytes(self.fixed()?),
            kind: std::str::from_utf8(self.field()?).map_err(|_| Damaged::Copy)?,
            schema_version: i32::from_be_bytes(self.fixed()?),
            data: self.field()?,
            meta: self.field()?,
            recorded_at: i64::from_be_bytes(self.fixed()?),
        })
    }

    /// A field of which the type tells the length.
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.field()?.try_into().map_err(|_| Damaged::Copy)
    }

    /// What stands behind its length. No column may be null, which a length of -1 would say.
    fn field(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(i32::from_be_bytes(self.array()?)).map_err(|_| Damaged::Copy)?;
        let (field, rest) = self.0.split_at_checked(length).ok_or(Damaged::Copy)?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Damaged::Copy)?;
        self.0 = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests {
    use quillwork_domain::id::{JobId, StreamId, Version};

    use super::*;

    /// What PostgreSQL sends for one event.
    fn one_event() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        bytes.extend(RECORDED.n_columns.to_be_bytes());
        let meta = [1, 0].into_iter().chain([9; 16]).chain([1, 0, b'a', 1, 0, b't']).collect::<Vec<u8>>();
        let fields: [&[u8]; 10] = [
            &7_i64.to_be_bytes(),
            &[5; 16],
            &2_i64.to_be_bytes(),
            &[6; 16],
            b"JobCompleted",
            &1_i32.to_be_bytes(),
            b"{}",
            &meta,
            &1_234_i64.to_be_bytes(),
            &[3; 32],
        ];
        for field in fields {
            bytes.extend(i32::try_from(field.len()).unwrap().to_be_bytes());
            bytes.extend(field);
        }
        bytes.extend(END.to_be_bytes());
        bytes
    }

    fn read(messages: &[&[u8]]) -> Result<Vec<Recorded>, Damaged> {
        let mut copied = Copied::new(RECORDED, 1);
        messages.iter().try_for_each(|message| copied.add(message))?;
        copied.whole()
    }

    #[test]
    fn what_was_copied_is_read() {
        let bytes = one_event();
        let (begin, end) = bytes.split_at(bytes.len() - 2);
        let (head, row) = begin.split_at(SIGNATURE.len() + 8);
        for messages in [&[&bytes[..]][..], &[begin, end], &[head, row, end]] {
            let events = read(messages).unwrap();
            let event = &events[0];
            assert_eq!((events.len(), event.position, event.version), (1, Position(7), Version(2)));
            assert_eq!(event.stream, StreamId::Job(JobId(Uuid::from_bytes([5; 16]))));
            assert_eq!((&*event.kind, &*event.data, &*event.meta.tenant), ("JobCompleted", &b"{}"[..], "t"));
        }
        assert_eq!(read(&[head, row, row, end]).unwrap().len(), 2);
    }

    #[test]
    fn whatever_ends_too_soon_or_too_late_is_damaged() {
        let whole = one_event();
        for n_bytes in 0..whole.len() {
            assert!(read(&[&whole[..n_bytes]]).is_err(), "of {n_bytes} bytes");
        }
        assert!(read(&[&[&whole[..], &[0]].concat()]).is_err());
        assert!(read(&[&whole, &[0]]).is_err());
        assert!(read(&[]).is_err());
    }
}
