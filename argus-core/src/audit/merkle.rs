//! Records become the leaves of one Merkle tree (RFC 6962): its root stands for all of them, and a short proof shows that one is
//! among them.

use sha2::{Digest as _, Sha256};

/// A node of the tree.
pub(super) type Hash = [u8; 32];

/// The hash of a record, by its stored bytes.
pub(super) fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(bytes)
        .finalize()
        .into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let hash = Sha256::new().chain_update([1]).chain_update(left);
    hash.chain_update(right).finalize().into()
}

/// A tree that only grows: the roots of its complete parts, largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// A tree of `size` leaves, by the roots of its complete parts; none if their number doesn't fit.
    pub(super) fn new(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() as u32 == size.count_ones()).then_some(Self { size, peaks })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    pub(super) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each complete part as large as the new one joins it.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    pub(super) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return Sha256::digest([]).into();
        };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

/// The path from the leaf at `index` to the root of these leaves, from below.
pub(super) fn prove(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    // The largest power of two below the number of leaves.
    let half = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(half.min(leaves.len()));
    let (mut path, other) = if index < left.len() {
        (prove(left, index), right)
    } else {
        (prove(right, index - left.len()), left)
    };
    path.push(root_of(other));
    path
}

/// Whether the path leads from the leaf at `index` to the root of a tree of `size` leaves. RFC 9162, section 2.1.3.2.
pub(super) fn proves(leaf: Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for step in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node(step, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, step);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests {
    use super::{Hash, Tree, leaf, prove, proves};

    /// The leaves and roots of the reference implementation of Certificate Transparency.
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16)
                    .unwrap_or_default()
            })
            .collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_vec(), bytes(ROOTS[0]));
        for (data, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            tree.push(leaf(&bytes(data)));
            assert_eq!(tree.root().to_vec(), bytes(root), "{} leaves", tree.size());
            assert_eq!(
                Tree::new(tree.size(), tree.peaks().to_vec()).as_ref(),
                Some(&tree)
            );
        }
        assert_eq!(Tree::new(3, vec![[0; 32]]), None);
    }

    #[test]
    fn one_leaf_is_proved_and_no_other() {
        let leaves: Vec<Hash> = (0..70u8).map(|n| leaf(&[n])).collect();
        for size in 1..=leaves.len() {
            let leaves = &leaves[..size];
            let mut tree = Tree::default();
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            let root = tree.root();
            for (index, own) in leaves.iter().enumerate() {
                let path = prove(leaves, index);
                let holds = |leaf: Hash, index: usize, size: usize, path: &[Hash], root: &Hash| {
                    proves(leaf, index as u64, size as u64, path, root)
                };
                assert!(holds(*own, index, size, &path, &root), "{index} of {size}");
                assert!(!holds([7; 32], index, size, &path, &root), "another record");
                assert!(!holds(*own, index + 1, size, &path, &root), "another place");
                assert!(!holds(*own, index, size, &path, &[7; 32]), "another root");
                let mut longer = path.clone();
                longer.push([7; 32]);
                assert!(!holds(*own, index, size, &longer, &root), "a longer path");
                for changed in 0..path.len() {
                    let mut other = path.clone();
                    other[changed][0] ^= 1;
                    assert!(!holds(*own, index, size, &other, &root), "another path");
                }
            }
        }
    }
}
