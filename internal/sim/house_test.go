package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the code's own shape has to be. A type that knows too much is where rules get lost.
const (
	mostMethods = 35
	mostFields  = 25
	mostLines   = 500
)

const module = "github.com/zkelection/election"

func TestNoFileIsTooLong(t *testing.T) {
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		assert.LessOrEqual(t, bytes.Count(text, []byte("\n")), mostLines, "%s has too many lines", name)
		return err
	}))
}

func TestNoTypeIsTooLarge(t *testing.T) {
	for dir, files := range library(t) {
		for name, s := range shapes(files) {
			assert.LessOrEqual(t, s.methods, mostMethods, "methods of %s in %s", name, dir)
			assert.LessOrEqual(t, s.fields, mostFields, "fields of %s in %s", name, dir)
		}
	}
}

// library parses what a user's binary links of this module: the root package, electionhttp and what they import, without
// tests, by directory below the root.
func library(t *testing.T) map[string][]*ast.File {
	all := map[string][]*ast.File{}
	for todo := []string{".", "electionhttp"}; len(todo) > 0; todo = todo[1:] {
		dir := todo[0]
		if _, known := all[dir]; known {
			continue
		}
		names, err := filepath.Glob(filepath.Join("..", "..", dir, "*.go"))
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			all[dir] = append(all[dir], f)
			for _, i := range f.Imports {
				if path, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module+"/"); ours {
					todo = append(todo, path)
				}
			}
		}
	}
	require.Contains(t, all, "internal/driver")
	return all
}

type shape struct{ methods, fields int }

// shapes counts the methods and fields of a package's types. A field counts as the fields of its type if that is an
// unexported struct of the same package without methods: such a type only groups them.
func shapes(files []*ast.File) map[string]shape {
	structs, methods := map[string]*ast.StructType{}, map[string]int{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					methods[typeName(n.Recv.List[0].Type)]++
				}
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					structs[n.Name.Name] = s
				}
			}
			return true
		})
	}

	var count func(*ast.StructType) int
	count = func(s *ast.StructType) (n int) {
		for _, f := range s.Fields.List {
			each := 1
			if id, ok := f.Type.(*ast.Ident); ok && structs[id.Name] != nil && methods[id.Name] == 0 && !id.IsExported() {
				each = count(structs[id.Name])
			}
			n += each * max(len(f.Names), 1)
		}
		return n
	}

	all := map[string]shape{}
	for name, n := range methods {
		all[name] = shape{methods: n}
	}
	for name, s := range structs {
		all[name] = shape{methods[name], count(s)}
	}
	return all
}

// typeName is the name of a receiver's type.
func typeName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.IndexExpr:
		return typeName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// Package internal/driver is the one place where a machine is made and stepped. Package internal/queue needs its words
// for what a request's answer means, and the root package those for the events and states.
func TestOnlyTheDriverMakesAMachine(t *testing.T) {
	importers := map[string]bool{}
	for dir, files := range library(t) {
		for _, f := range files {
			for _, i := range f.Imports {
				if i.Path.Value == `"`+module+`/internal/machine"` {
					importers[dir] = true
				}
			}
			if dir == "internal/driver" || dir == "internal/machine" {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					x, _ := s.X.(*ast.Ident)
					of := x != nil && x.Name == "machine"
					assert.False(t, of && (s.Sel.Name == "New" || s.Sel.Name == "Machine"), "%s uses machine.%s", dir, s.Sel.Name)
				}
				return true
			})
		}
	}
	assert.ElementsMatch(t, []string{".", "internal/driver", "internal/queue"}, slices.Collect(maps.Keys(importers)))
}

// What would step the machine, or use the watches and timers, from outside of the driver. The compiler refuses each.
var breaches = []string{
	"func steps(c *Candidate) { c.driver.machine.Step(machine.Close{}, true) }",
	"func stepsAsTheOwner(c *Candidate) { c.driver.step(machine.Close{}) }",
	"func takesTheOwner(o *driver.owner) {}",
	"func makesAnOwner(c *Candidate) { driver.newOwner(c.driver) }",
	"func takesAWatch(c *Candidate) { c.driver.watches.own = nil }",
	"func stopsATimer(c *Candidate) { c.driver.tick.Stop() }",
	"func closesTheInbox(c *Candidate) { c.driver.inbox.close() }",
	"func showsAnotherState(c *Candidate) { c.driver.board.update(nil) }",
	"func removesTheZnode(c *Candidate) { c.driver.cfg.Entry.Delete(\"\") }",
	"func comesBackToLife(c *Candidate) { c.driver.life.Store(0) }",
}

// TestTheWallAroundTheDriverHolds shows by mutation that nobody outside of it can do the owner's work.
func TestTheWallAroundTheDriverHolds(t *testing.T) {
	const head = "package election\n\nimport (\n\t\"" + module + "/internal/driver\"\n\t\"" + module + "/internal/machine\"\n)\n\n"
	out, err := compile(t, head+"func posts(d *driver.Driver) { d.Post(machine.Close{}) }\n")
	require.NoError(t, err, "what is permitted does not compile either: %s", out)

	out, err = compile(t, head+strings.Join(breaches, "\n")+"\n")
	require.Error(t, err)
	for i, breach := range breaches {
		line := strings.Count(head, "\n") + 1 + i
		require.Regexp(t, fmt.Sprintf(`breach\.go:%d:\d+: .*(undefined|unexported|not exported)`, line), out, "this compiles: %s", breach)
	}
}

// compile builds the root package with one more file, and returns all that the compiler says.
func compile(t *testing.T, text string) (string, error) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "breach.go"), filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "breach.go"): file}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, b, 0o600))

	cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "-overlay", overlay, module)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
