"""The files that come with a letter: fetched, recognised by their bytes, shown where that is safe, else refused."""
