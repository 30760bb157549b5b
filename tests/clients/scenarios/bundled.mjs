// Finds modules as a bundler does: the name of a directory stands for its index.
import { registerHooks } from "node:module";

registerHooks({
  resolve(specifier, context, next) {
    try {
      return next(specifier, context);
    } catch (error) {
      if (error.code !== "ERR_UNSUPPORTED_DIR_IMPORT") throw error;
      return next(`${specifier}/index.js`, context);
    }
  },
});
