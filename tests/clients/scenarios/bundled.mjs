// Finds modules as a bundler does: without their ending, and a directory by its index.
import { registerHooks } from "node:module";

const ENDINGS = { ERR_UNSUPPORTED_DIR_IMPORT: "/index.js", ERR_MODULE_NOT_FOUND: ".js" };

registerHooks({
  resolve(specifier, context, next) {
    try {
      return next(specifier, context);
    } catch (error) {
      if (!(error.code in ENDINGS) || specifier.endsWith(".js")) throw error;
      return next(specifier + ENDINGS[error.code], context);
    }
  },
});
