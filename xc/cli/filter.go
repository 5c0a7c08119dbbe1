package cli

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

// filterFlag binds --filter of a command that lists.
func filterFlag(f *pflag.FlagSet, to *[]string, examples string) {
	f.VarP((*repeated)(to), "filter", "f", "only what fits KEY=VALUE, as "+examples+" (may be repeated)")
}

// filterWords completes --filter: each key with what its value may be, if that can be
// said.
func filterWords(keys []string, values map[string]names) names {
	return func(ctx context.Context, e api.Engine) ([]string, error) {
		var words []string
		var errs []error
		for _, key := range keys {
			list, ok := values[key]
			if !ok {
				words = append(words, key+"=")
				continue
			}
			found, err := list(ctx, e)
			errs = append(errs, err)
			for _, v := range found {
				words = append(words, key+"="+v)
			}
		}
		return words, errors.Join(errs...)
	}
}

// words are always the same.
func words(list ...string) names {
	return func(context.Context, api.Engine) ([]string, error) { return list, nil }
}

// containerFilterWords completes --filter of ps.
func containerFilterWords() names {
	return filterWords(api.ContainerFilters(), map[string]names{
		"name": containerNames(), "before": containerNames(), "since": containerNames(),
		"status":   words(api.StateCreated, api.StateRunning, api.StateExited),
		"ancestor": imageNames, "network": allNetworkNames, "volume": volumeNames,
	})
}

// imageFilterWords completes --filter of images.
func imageFilterWords() names {
	return filterWords(api.ImageFilters(), map[string]names{
		"reference": imageNames, "before": imageNames, "since": imageNames, "dangling": words("true", "false"),
	})
}
