//! Long lists, a page at a time: each is read into the same bytes, which are bounded.

use std::str::Utf8Error;
use std::time::Duration;

use ::kube::api::{ListParams, ObjectList};
use ::kube::core::Request;
use ::kube::{Client, Error};
use futures::{AsyncBufReadExt, FutureExt};
use serde::de::DeserializeOwned;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::refusal;
use super::scanner::Trouble;

/// How many objects one page has.
const PAGE: u32 = 250;
/// How many it has after one that was too large.
const SMALL_PAGE: u32 = 10;
/// How long an answer is left alone once it is read as far as it came. It comes in pieces of 16 KiB, and being woken for each costs
/// more than reading it.
const PAUSE: Duration = Duration::from_millis(2);
/// The status of a page that was asked for too late.
const EXPIRED: u16 = 410;

/// How large an answer may be.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) objects: &'static str,
    pub(super) bytes: usize,
}

const OF_A_PAGE: Bound = Bound {
    objects: "ten",
    bytes: 32 << 20,
};
/// Where pages can't be had.
const OF_ALL: Bound = Bound {
    objects: "all",
    bytes: 512 << 20,
};

/// The pages of a list.
pub(super) struct Pages {
    /// What is asked for next; nothing after the last.
    next: Option<ListParams>,
    bytes: Vec<u8>,
}

pub(super) enum Page<K> {
    Items(Vec<K>),
    /// The next page was asked for too late: all come again, and at once.
    Again,
    End,
}

impl Pages {
    pub(super) fn of(params: ListParams) -> Self {
        Self {
            next: Some(params.limit(PAGE)),
            bytes: Vec::new(),
        }
    }

    /// The next page of what is at this path.
    pub(super) async fn next<K>(&mut self, client: &Client, path: &str) -> Result<Page<K>, Trouble>
    where
        K: Clone + DeserializeOwned,
    {
        loop {
            let Some(params) = &mut self.next else {
                return Ok(Page::End);
            };
            match read(client, path, params, &mut self.bytes).await {
                Ok(()) => {}
                Err(Trouble::Api(error)) if is_expired(&error, params) => {
                    (params.limit, params.continue_token) = (None, None);
                    return Ok(Page::Again);
                }
                Err(Trouble::TooLarge(_)) if params.limit == Some(PAGE) => {
                    params.limit = Some(SMALL_PAGE);
                    continue;
                }
                Err(trouble) => return Err(trouble),
            }
            // As one text, which is faster than text by text.
            let text = str::from_utf8(&self.bytes).map_err(not_json)?;
            let page: ObjectList<K> = serde_json::from_str(text).map_err(Error::SerdeError)?;
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => self.next = None,
            }
            return Ok(Page::Items(page.items));
        }
    }
}

/// Reads one page into `bytes`.
async fn read(
    client: &Client,
    path: &str,
    params: &ListParams,
    bytes: &mut Vec<u8>,
) -> Result<(), Trouble> {
    let request = Request::new(path)
        .list(params)
        .map_err(Error::BuildRequest)?;
    let mut answer = client.request_stream(request).await?;
    bytes.clear();
    let bound = params.limit.map_or(OF_ALL, |_| OF_A_PAGE);
    let mut waited = 0;
    loop {
        let Some(some) = answer.fill_buf().now_or_never() else {
            waited += 1;
            match waited {
                // The connection hands over one piece after another, as long as it has any.
                ..3 => yield_now().await,
                _ => sleep(PAUSE).await,
            }
            continue;
        };
        waited = 0;
        let some = some.map_err(Error::ReadEvents)?;
        if some.is_empty() {
            return Ok(());
        }
        if bytes.len() + some.len() > bound.bytes {
            return Err(Trouble::TooLarge(bound));
        }
        bytes.extend_from_slice(some);
        let read = some.len();
        answer.consume_unpin(read);
    }
}

fn not_json(error: Utf8Error) -> Error {
    Error::SerdeError(serde::de::Error::custom(error))
}

fn is_expired(error: &Error, params: &ListParams) -> bool {
    params.continue_token.is_some() && refusal(error).is_some_and(|(code, _)| code == EXPIRED)
}
