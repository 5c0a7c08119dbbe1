// Package image has the words in which container images are spoken of:
// references, platforms, indexes, manifests, configurations, chains. It parses
// and chooses; it does no input or output. image/store keeps images on this
// machine, image/registry brings them here.
//
//   - A reference is what a user types: alpine, registry:5000/a/b@sha256:….
//   - A platform is os/arch[/variant]: freebsd/amd64, linux/arm/v7.
//   - An index lists one manifest for each platform; a manifest names the
//     configuration and the layers of one image by their digests.
//   - A diff id is the digest of a layer's uncompressed tar. A chain is a stack
//     of layers from the bottom up to some layer, named by its chain id, which is
//     computed from the diff ids alone (image-spec, config.md, "Layer ChainID").
//
// Everything parsed here comes from strangers, so sizes and counts are bounded
// and digests are sha256 or sha512, nothing else.
//
//	ref, err := image.ParseReference("alpine")   // docker.io/library/alpine:latest
//	index, err := image.ParseIndex(body)
//	choice, err := image.Select(index, want, "14.3-RELEASE")
package image
