package store_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
)

func loadOptions() store.LoadOptions {
	return store.LoadOptions{Platforms: []ispec.Platform{amd64}}
}

// nothing fails the test unless there are no images, and nothing to prune.
func nothing(t *testing.T, m *store.Images) {
	t.Helper()
	if pruned, err := m.Prune(t.Context()); err != nil || len(pruned.Blobs)+len(pruned.Chains) != 0 || pruned.Bytes != 0 {
		t.Errorf("debris: %+v, %v", pruned, err)
	}
	if refs, err := m.Refs.List(t.Context()); err != nil || len(refs) != 0 {
		t.Errorf("%v, %v", refs, err)
	}
}

func TestSaveAndLoad(t *testing.T) {
	from, _ := imagetest.Open(t)
	base := imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"a": "1"})
	top := imagetest.NewLayer(t, ispec.MediaTypeImageLayerZstd, map[string]string{"b": "2"})
	one := add(t, from, "one:1", imagetest.NewImage(t, amd64, base))
	two := add(t, from, "r.io/two:2", imagetest.NewDockerImage(t, amd64, base, top))
	again := one
	again.Name = ref(t, "uno:1")
	var archive bytes.Buffer
	if err := from.Save(t.Context(), &archive, []store.Image{one, two, again}); err != nil {
		t.Fatal(err)
	}
	for _, mediaType := range []string{ispec.MediaTypeImageLayer, ispec.MediaTypeImageLayerGzip, ispec.MediaTypeImageLayerZstd} {
		to, _ := imagetest.Open(t)
		got, err := to.LoadArchive(t.Context(), bytes.NewReader(imagetest.Compress(t, mediaType, archive.Bytes())), loadOptions())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i, img := range got {
			names = append(names, img.Name.Familiar())
			if want := []store.Image{one, two, one}[i]; img.Manifest.Digest != want.Manifest.Digest || img.Chain != want.Chain {
				t.Errorf("%+v", img)
			}
		}
		if !slices.Equal(names, []string{"one:1", "r.io/two:2", "uno:1"}) {
			t.Errorf("%q", names)
		}
		if problems, err := to.Check(t.Context()); err != nil || len(problems) != 0 {
			t.Errorf("%v, %v", problems, err)
		}
		if pruned, err := to.Prune(t.Context()); err != nil || len(pruned.Blobs) != 0 {
			t.Errorf("debris: %+v, %v", pruned, err)
		}
	}
	// What is here already is taken as it is.
	if got, err := from.LoadArchive(t.Context(), bytes.NewReader(archive.Bytes()), loadOptions()); err != nil || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
	// Each way to end too early, and one wrong byte anywhere, leave nothing.
	size := archive.Len()
	for at := 512; at < size; at += size / 9 {
		to, _ := imagetest.Open(t)
		if _, err := to.LoadArchive(t.Context(), bytes.NewReader(archive.Bytes()[:at]), loadOptions()); err == nil {
			t.Errorf("an archive of %d of %d bytes was loaded", at, size)
		}
		nothing(t, to)
	}
	at := bytes.LastIndex(archive.Bytes(), top.Data)
	spoiled := bytes.Clone(archive.Bytes())
	spoiled[at+len(top.Data)/2] ^= 1
	to, _ := imagetest.Open(t)
	var mismatch *image.MismatchError
	if _, err := to.LoadArchive(t.Context(), bytes.NewReader(spoiled), loadOptions()); !errors.As(err, &mismatch) {
		t.Errorf("spoiled: %v", err)
	}
	nothing(t, to)
}

// What is damaged does not get into an archive that ends as one does.
func TestSaveVerifies(t *testing.T) {
	m, _ := imagetest.Open(t)
	img := add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a"), layer(t, "b")))
	for _, d := range []digest.Digest{img.Layers[1].Blob.Digest, img.Layers[0].Blob.Digest, img.ConfigID} {
		imagetest.Damage(t, m, d)
		var out bytes.Buffer
		var mismatch *image.MismatchError
		if err := m.Save(t.Context(), &out, []store.Image{img}); !errors.As(err, &mismatch) || mismatch.Want != d.String() || mismatch.Got == "" {
			t.Errorf("%v", err)
		}
		archive := tar.NewReader(&out)
		var err error
		for err == nil {
			if _, err = archive.Next(); err == nil {
				_, err = io.Copy(io.Discard, archive)
			}
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("reading what was written: %v", err)
		}
	}
}

// An archive is verified also where its blobs are here already, and a good one
// replaces those that are damaged.
func TestLoadOverWhatIsHere(t *testing.T) {
	m, _ := withTrees(t)
	img := add(t, m, "x", imagetest.NewImage(t, amd64, layer(t, "a"), layer(t, "b")))
	var archive bytes.Buffer
	if err := m.Save(t.Context(), &archive, []store.Image{img}); err != nil {
		t.Fatal(err)
	}
	load := func(b []byte) error {
		_, err := m.LoadArchive(t.Context(), bytes.NewReader(b), loadOptions())
		return err
	}
	cut := func(d digest.Digest) {
		if err := os.Truncate(filepath.Join(m.Blobs.Dir(), "blobs/sha256", d.Encoded()), 3); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []digest.Digest{img.Manifest.Digest, img.ConfigID, img.Layers[0].Blob.Digest, img.Layers[1].Blob.Digest} {
		raw, err := os.ReadFile(filepath.Join(m.Blobs.Dir(), "blobs/sha256", d.Encoded()))
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(archive.Bytes())
		bad[bytes.LastIndex(bad, raw)+len(raw)/2] ^= 1
		var mismatch *image.MismatchError
		if err := load(bad); !errors.As(err, &mismatch) || mismatch.Want != d.String() {
			t.Errorf("damaged in the archive: %v", err)
		}
		sound(t, m)
		for _, spoil := range []func(digest.Digest){func(d digest.Digest) { imagetest.Damage(t, m, d) }, cut} {
			spoil(d)
			if err := load(archive.Bytes()); err != nil {
				t.Errorf("damaged here: %v", err)
			}
			sound(t, m)
		}
	}
	imagetest.Damage(t, m, img.Layers[0].Blob.Digest)
	bad := bytes.Clone(archive.Bytes())
	raw, err := os.ReadFile(filepath.Join(m.Blobs.Dir(), "blobs/sha256", img.Layers[0].Blob.Digest.Encoded()))
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	bad[bytes.LastIndex(bad, raw)+len(raw)/2] ^= 1
	if err := load(bad); err == nil {
		t.Error("damaged here and there: it was loaded")
	}
	if err := load(archive.Bytes()); err != nil {
		t.Error(err)
	}
	sound(t, m)
}

// entries writes a tar of files, and of links where the content begins with "->".
func entries(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}
		if target, ok := strings.CutPrefix(f[1], "->"); ok {
			h = &tar.Header{Typeflag: tar.TypeSymlink, Name: f[0], Linkname: target}
			f[1] = ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What docker save wrote before it wrote layouts: layers plain, in directories,
// and as links to each other.
func TestLoadOldDockerArchive(t *testing.T) {
	base := imagetest.NewLayer(t, ispec.MediaTypeImageLayer, map[string]string{"a": "1"})
	top := imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"b": "2"})
	img := imagetest.NewImage(t, amd64, base, top, base)
	config := img.Config.Digest.Encoded() + ".json"
	manifest := fmt.Sprintf(`[{"Config":%q,"RepoTags":["a:1","r.io/b:2"],"Layers":["l1/layer.tar","l2/layer.tar","l3/layer.tar"]}]`, config)
	docs := [][2]string{{config, string(img.Config.Data)}, {"manifest.json", manifest}, {"repositories", "{}"}}
	good := entries(t, append(docs, [2]string{"l1/layer.tar", string(base.Data)}, [2]string{"l2/layer.tar", string(top.Data)}, [2]string{"l3/layer.tar", "->../l1/layer.tar"})...)
	m, _ := imagetest.Open(t)
	got, err := m.LoadArchive(t.Context(), bytes.NewReader(good), loadOptions())
	if err != nil || len(got) != 2 || got[0].ConfigID != img.Config.Digest || got[0].Chain != img.Chain() || got[1].Name.Familiar() != "r.io/b:2" {
		t.Fatalf("%+v, %v", got, err)
	}
	if got[0].Layers[1].Blob.MediaType != ispec.MediaTypeImageLayerGzip || got[0].Layers[2].Blob.Digest != base.Digest {
		t.Errorf("%+v", got[0].Layers)
	}
	for name, bad := range map[string][]byte{
		"a layer is missing":     entries(t, append(docs, [2]string{"l1/layer.tar", string(base.Data)})...),
		"a layer is another":     entries(t, append(docs, [2]string{"l1/layer.tar", string(base.Data)}, [2]string{"l2/layer.tar", string(base.Data)}, [2]string{"l3/layer.tar", string(base.Data)})...),
		"links in a circle":      entries(t, append(docs, [2]string{"l1/layer.tar", "->../l2/layer.tar"}, [2]string{"l2/layer.tar", "->../l1/layer.tar"})...),
		"a link to the outside":  entries(t, append(docs, [2]string{"l1/layer.tar", "->/etc/passwd"})...),
		"no documents":           entries(t, [2]string{"etc/passwd", "root"}),
		"a document of rubbish":  entries(t, [2]string{"manifest.json", "{"}),
		"an index of nothing":    entries(t, [2]string{"index.json", `{"schemaVersion":2,"manifests":[]}`}),
		"a manifest that is not": entries(t, [2]string{"index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + strings.Repeat("0", 64) + `","size":2}]}`}),
		"nothing":                {},
	} {
		m, _ := imagetest.Open(t)
		if _, err := m.LoadArchive(t.Context(), bytes.NewReader(bad), loadOptions()); err == nil {
			t.Errorf("%s: it was loaded", name)
		} else if name == "a layer is missing" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		nothing(t, m)
	}
}

// A layout of images without names, and one for several platforms.
func TestLoadLayout(t *testing.T) {
	img := imagetest.NewImage(t, amd64, imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"a": "1"}))
	other := imagetest.NewImage(t, ispec.Platform{OS: "linux", Architecture: "arm64"}, imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"a": "2"}))
	one, two := img.Manifest.Descriptor, other.Manifest.Descriptor
	one.Platform, two.Platform = &amd64, &ispec.Platform{OS: "linux", Architecture: "arm64"}
	list := imagetest.NewIndex(t, two, one)
	var files [][2]string
	for _, b := range []imagetest.Blob{img.Manifest, img.Config, img.Layers[0].Blob, other.Manifest, list} {
		files = append(files, [2]string{path.Join("blobs/sha256", b.Digest.Encoded()), string(b.Data)})
	}
	top := list.Descriptor
	top.Annotations = map[string]string{ispec.AnnotationRefName: "latest"} // a tag is no name
	archive := entries(t, append(files, [2]string{"index.json", string(imagetest.NewIndex(t, top).Data)})...)
	m, _ := imagetest.Open(t)
	if _, err := m.LoadArchive(t.Context(), bytes.NewReader(archive), loadOptions()); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Errorf("%v", err)
	}
	nothing(t, m)
	o := loadOptions()
	o.Name = ref(t, "mine:3")
	got, err := m.LoadArchive(t.Context(), bytes.NewReader(archive), o)
	if err != nil || len(got) != 1 || got[0].Manifest.Digest != img.Manifest.Digest || got[0].Index != list.Digest || got[0].Name != o.Name {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzLoadArchive(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("\x1f\x8b"))
	m, _ := imagetest.Open(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := m.LoadArchive(t.Context(), bytes.NewReader(b), loadOptions()); err == nil && len(got) == 0 {
			t.Error("nothing was loaded, and no error")
		}
	})
}
