/** What is mended in govmomi's property collector before vcsim is built with it: README.md says what was wrong. */
import type { Mend } from '../vcenter/go-program.ts';

const module = 'github.com/vmware/govmomi';

export const MENDS: readonly Mend[] = [
  {
    module,
    file: 'simulator/property_filter.go',
    // The filter's lock is held while every object is locked in turn, and whoever makes an object holds that object's
    // lock while it waits for the filter's: both stand still for ever.
    from: `	ctx.WithLock(f, func() {
		if f.sync {
			f.sync = false
			clear(f.refs)
			_, _ = f.collect(ctx)
		}
	})
}
`,
    to: `	isStale := false
	ctx.WithLock(f, func() { isStale, f.sync = f.sync, false })
	if isStale {
		clear(f.refs)
	}
}

// follows says whether a change of the object can bring other objects into the filter: where the filter selects through
// its own objects alone, only theirs can.
func (f *PropertyFilter) follows(ref types.ManagedObjectReference) bool {
	for _, set := range f.Spec.ObjectSet {
		if set.Obj == ref {
			return true
		}
		for _, step := range set.SelectSet {
			traversal, ok := step.(*types.TraversalSpec)
			if !ok || len(traversal.SelectSet) > 0 {
				return true
			}
		}
	}
	return false
}
`,
  },
  // Every property of every object is copied again for every change, and for the task that made it.
  {
    module,
    file: 'simulator/property_collector.go',
    from: `					case types.ObjectUpdateKindEnter: // Create
						if !apply() {`,
    to: `					case types.ObjectUpdateKindEnter: // Create
						if filter.follows(update.Obj) && !apply() {`,
  },
  {
    module,
    file: 'simulator/property_collector.go',
    from: `						if !apply() { // An update may apply`,
    to: `						if filter.follows(update.Obj) && !apply() { // An update may apply`,
  },
];
