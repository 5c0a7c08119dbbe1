package image

import "github.com/opencontainers/go-digest"

// Chains returns the chain id of each prefix of the diff ids, bottom first: the
// last is the image's own. The first chain id is the first diff id, the next
// ones the sha256 of "parent diffid" (image-spec, config.md, "Layer ChainID").
func Chains(diffIDs []digest.Digest) []digest.Digest {
	chains := make([]digest.Digest, 0, len(diffIDs))
	var parent digest.Digest
	for _, diff := range diffIDs {
		if parent == "" {
			parent = diff
		} else {
			parent = digest.FromString(parent.String() + " " + diff.String())
		}
		chains = append(chains, parent)
	}
	return chains
}

// ChainID is the chain id of the whole stack, empty for no layers.
func ChainID(diffIDs []digest.Digest) digest.Digest {
	chains := Chains(diffIDs)
	if len(chains) == 0 {
		return ""
	}
	return chains[len(chains)-1]
}
