use bytestring::ByteString;

use super::merge::Listed;

/// One page of a list, rendered once when the catalog is made: listing costs a copy.
#[derive(Debug, Clone)]
pub struct Page {
    /// The elements for modern clients: the inside of a JSON array.
    pub modern: ByteString,
    /// The elements for legacy clients.
    pub legacy: ByteString,
    /// How many elements there are.
    pub len: usize,
    /// The public name that the next page follows; `None` on the last page.
    pub next: Option<ByteString>,
    /// The position of the first element in the whole list.
    pub(super) first: usize,
}

/// Cuts the entries into pages of `size`. There is always a first page.
pub(super) fn paginate(entries: &[Listed], size: usize) -> Vec<Page> {
    let size = size.max(1);
    if entries.is_empty() {
        return vec![page(entries, 0, false)];
    }
    let count = entries.len().div_ceil(size);
    entries
        .chunks(size)
        .enumerate()
        .map(|(at, chunk)| page(chunk, at * size, at + 1 < count))
        .collect()
}

fn page(entries: &[Listed], first: usize, more: bool) -> Page {
    let join = |text: fn(&Listed) -> &ByteString| -> ByteString {
        let length = entries.iter().map(|entry| text(entry).len() + 1).sum();
        let mut out = String::with_capacity(length);
        for entry in entries {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(text(entry));
        }
        out.into()
    };
    let modern = join(|entry| &entry.item.modern);
    let same = entries
        .iter()
        .all(|entry| entry.item.modern.as_ptr() == entry.item.legacy.as_ptr());
    let legacy = if same {
        modern.clone()
    } else {
        join(|entry| &entry.item.legacy)
    };
    let next = entries
        .last()
        .filter(|_| more)
        .map(|entry| entry.item.public.clone());
    Page {
        modern,
        legacy,
        len: entries.len(),
        next,
        first,
    }
}
