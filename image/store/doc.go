// Package store keeps images on this machine: blobs in an OCI image layout,
// names in a ledger, and unpacked root file systems, one to each chain of
// verified layers.
//
//   - A Store is a directory that any OCI tool can read (image-layout.md of the
//     image-spec). Bytes enter through a Staging, which can be resumed, and are
//     seen as a blob only once their size and digest have been verified and they
//     are on disk.
//   - Refs is the ledger of names. The engine keeps it in its database; a program
//     without one uses Store.Refs, which keeps them in the layout's index.json.
//   - Roots is where chains are unpacked: ZFS datasets or directories. A Draft is
//     a root in the making. Its Commit is the one atomic act; all before it is
//     debris that the next Begin of that chain, or recovery, removes.
//   - Images puts the three together: resolve, list, import, tag, remove, prune,
//     check.
//   - A Lease keeps what is being worked with from a prune that runs beside it.
//
// The story of a pull, which image/registry tells in full: take a lease and pin
// what the manifest names; stage and commit the blobs; Unroll the layers, bottom
// first, each of them behind its staging if need be; put the reference; release
// the lease. Killed anywhere, it leaves a
// sound store, in which the next pull finds what this one has done.
//
// umoci's oci/cas serves the index (Store.Layout gives it to those who mutate
// images). umoci logs through the global github.com/apex/log, whose handler is
// left to the program, and ends the process on digest algorithms that it does
// not know: everything here checks digests before umoci sees them.
package store
