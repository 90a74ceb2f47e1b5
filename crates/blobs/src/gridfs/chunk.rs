//! The BSON document of one GridFS chunk, built in place while its bytes arrive.

/// `{_id, files_id, n, data}` with the bytes of `data` last, so that they can be appended.
#[derive(Debug)]
pub struct Chunk {
    doc: Vec<u8>,
    capacity: usize,
}

/// Where the length of `data` stands: document length, `_id` (1 + 4 + 12), `files_id` (1 + 9 + 12),
/// `n` (1 + 2 + 4), and type and name of `data` (1 + 5).
const DATA_LENGTH: usize = 4 + 17 + 22 + 7 + 6;
/// Behind it one byte for the binary subtype, then the bytes.
const DATA: usize = DATA_LENGTH + 4 + 1;

impl Chunk {
    /// The empty `n`-th chunk of a file, with room for `capacity` bytes.
    pub fn new(id: [u8; 12], files_id: [u8; 12], n: u32, capacity: usize) -> Self {
        let mut doc = Vec::with_capacity(DATA + capacity + 1);
        doc.extend_from_slice(&[0; 4]);
        doc.extend_from_slice(b"\x07_id\0");
        doc.extend_from_slice(&id);
        doc.extend_from_slice(b"\x07files_id\0");
        doc.extend_from_slice(&files_id);
        doc.extend_from_slice(b"\x10n\0");
        doc.extend_from_slice(&n.to_le_bytes());
        doc.extend_from_slice(b"\x05data\0");
        doc.extend_from_slice(&[0; 5]);
        debug_assert_eq!(doc.len(), DATA);
        Self { doc, capacity }
    }

    /// Takes as many of `bytes` as there is room for; returns the rest.
    pub fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (fits, rest) = bytes.split_at(bytes.len().min(self.capacity - self.len()));
        self.doc.extend_from_slice(fits);
        rest
    }

    pub fn len(&self) -> usize {
        self.doc.len() - DATA
    }

    pub fn is_full(&self) -> bool {
        self.len() == self.capacity
    }

    /// The bytes so far.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.doc[DATA..]
    }

    /// The finished document.
    pub fn into_document(mut self) -> Vec<u8> {
        let data = (self.len() as u32).to_le_bytes();
        self.doc[DATA_LENGTH..DATA_LENGTH + 4].copy_from_slice(&data);
        self.doc.push(0);
        let all = (self.doc.len() as u32).to_le_bytes();
        self.doc[..4].copy_from_slice(&all);
        self.doc
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, oid::ObjectId, spec::BinarySubtype};

    use super::Chunk;

    #[test]
    fn is_the_document_that_a_gridfs_reader_expects() {
        let (id, files_id) = (ObjectId::new(), ObjectId::new());
        let mut chunk = Chunk::new(id.bytes(), files_id.bytes(), 7, 5);
        assert_eq!(chunk.fill(b"abcdefg"), b"fg");
        assert!(chunk.is_full());
        chunk.data_mut()[0] = b'X';
        let doc = RawDocumentBuf::from_bytes(chunk.into_document()).expect("valid BSON");
        assert_eq!(doc.get_object_id("_id").expect("_id"), id);
        assert_eq!(doc.get_object_id("files_id").expect("files_id"), files_id);
        assert_eq!(doc.get_i32("n").expect("n"), 7);
        let data = doc.get_binary("data").expect("data");
        assert_eq!((data.bytes, data.subtype), (&b"Xbcde"[..], BinarySubtype::Generic));
        assert_eq!(doc.iter().filter(Result::is_ok).count(), 4);
    }
}
