// Package registry brings images here from OCI and Docker registries
// (distribution-spec), over oras-go's authenticated client.
//
//   - A Client speaks to registries: it chooses the scheme, authorises itself,
//     tries again after what may pass (a lost or stalled connection, 429, 5xx)
//     and goes on in the middle of a blob.
//   - A Puller pulls images into a store.Images: the index, the platform's
//     manifest, the configuration, the layers in parallel; the lowest layer that
//     is not unpacked yet is unpacked while it arrives. Pulls that run at the same
//     time fetch each blob once and unpack each chain once. The name is put last.
//
// Nothing that a registry says is believed: sizes and digests are verified
// while the bytes come in, diff ids while they are unpacked.
//
//	p := &registry.Puller{Images: images, Client: &registry.Client{}}
//	got, err := p.Pull(ctx, ref, registry.Options{Platforms: want})
//
// What a pull that was interrupted has fetched stays, and the next one goes on
// from there. What turned out to be false is removed.
package registry
