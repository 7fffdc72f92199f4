//! Many events at once, as `COPY` sends them in its binary format: rows without the bookkeeping of a query's result.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format"

use futures::TryStreamExt as _;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::Position;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use crate::postgres::rows::{Damaged, EventRow, damaged, event_columns, rows_limit, signed};

/// What the data begins with.
const SIGNATURE: [u8; 11] = *b"PGCOPY\n\xff\r\n\0";

/// Columns of an event.
const COLUMNS: i16 = 10;

/// Stands in the place of the number of columns behind the last row.
const END: i16 = -1;

/// Takes no parameters, and always has the same text, so that it is one statement to whoever collects statistics. What it
/// depends on is set for the transaction.
const COPY: &str = concat!(
    "COPY (SELECT ",
    event_columns!(),
    " FROM quillwork.events e WHERE e.position > current_setting('quillwork.after')::bigint
      ORDER BY e.position LIMIT current_setting('quillwork.limit')::bigint) TO STDOUT (FORMAT binary)"
);

const SET: &str = "SELECT set_config('quillwork.after', $1, true), set_config('quillwork.limit', $2, true)";

/// Up to `limit` events after a position, in order.
pub(super) async fn events(pool: &PgPool, after: Position, limit: usize) -> sqlx::Result<Vec<Recorded>> {
    let pool = pool.clone();
    // To its end, also when whoever asked has gone: what was sent and not read would be taken for the next answer.
    let copying = tokio::spawn(async move {
        let mut conn = pool.acquire().await?;
        let copied = copy_out(&mut conn, after, limit).await;
        if copied.is_err() {
            // There may be more to read than the error.
            conn.close_on_drop();
        }
        copied
    });
    copying.await.unwrap_or_else(|error| Err(sqlx::Error::Io(std::io::Error::other(error))))
}

async fn copy_out(conn: &mut PgConnection, after: Position, limit: usize) -> sqlx::Result<Vec<Recorded>> {
    let mut tx = conn.begin().await?;
    let set = sqlx::query(SET).persistent(false);
    let set = set.bind(signed(after.0).to_string()).bind(rows_limit(limit).to_string());
    set.execute(&mut *tx).await?;
    let mut copied = Copied::default();
    let mut messages = tx.copy_out_raw(COPY).await?;
    while let Some(message) = messages.try_next().await? {
        copied.add(&message).map_err(damaged)?;
    }
    drop(messages);
    tx.commit().await?;
    copied.whole().map_err(damaged)
}

/// What came so far. Each message has whole rows, the first one behind the signature, the last one before the end.
#[derive(Default)]
struct Copied {
    events: Vec<Recorded>,
    has_begun: bool,
    has_ended: bool,
}

impl Copied {
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
                COLUMNS => self.events.push(bytes.row()?.recorded()?),
                END => self.has_ended = true,
                _ => return Err(Damaged::Copy),
            }
        }
        if bytes.0.is_empty() { Ok(()) } else { Err(Damaged::Copy) }
    }

    fn whole(self) -> Result<Vec<Recorded>, Damaged> {
        if self.has_ended { Ok(self.events) } else { Err(Damaged::Copy) }
    }
}

/// What is left to read of a message. All of it is there: whatever ends too soon is damaged.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn row(&mut self) -> Result<EventRow<'a>, Damaged> {
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
        bytes.extend(COLUMNS.to_be_bytes());
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
        let mut copied = Copied::default();
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
